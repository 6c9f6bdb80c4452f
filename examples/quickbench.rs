#[tokio::main]
async fn main() {
    let n: usize = std::env::args()
        .nth(1)
        .map_or(200_000, |a| a.parse().unwrap());
    let dir = std::env::args().nth(2).unwrap();
    let which = std::env::args().nth(3).unwrap_or_default();
    let dir = std::path::PathBuf::from(dir);
    std::fs::create_dir_all(&dir).unwrap();
    let b = towline::node::measure::Bench::new(&dir, towline::node::measure::sample_payloads(n));
    let mut f = vec![];
    if which.is_empty() || which == "bulk" {
        f.extend(b.bulk().await.unwrap());
    }
    if which.is_empty() || which == "app" {
        f.extend(b.appenders().await.unwrap());
    }
    if which.is_empty() || which == "emit" {
        f.extend(b.emit().await.unwrap());
    }
    if which.is_empty() || which == "rep" {
        f.extend(b.replication().await.unwrap());
    }
    for f in f {
        println!(
            "{:50} {:12.1} {:10} {}",
            f.what,
            f.value,
            f.unit,
            f.limit
                .map(|l| format!("{:.2} x {} ({:.1})", l.ratio, l.of, l.value))
                .unwrap_or_default()
        );
    }
    let s = std::fs::read_to_string("/proc/self/status").unwrap();
    println!(
        "{}",
        s.lines()
            .filter(|l| l.starts_with("VmHWM") || l.starts_with("VmRSS"))
            .collect::<Vec<_>>()
            .join(" ")
    );
}
