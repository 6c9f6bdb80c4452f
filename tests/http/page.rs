use crate::server::Server;

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
                      connect-src 'self'; img-src 'self' data:; base-uri 'none'; \
                      form-action 'none'; frame-ancestors 'none'";

#[test]
fn the_page_is_served_with_its_policy() {
    let server = Server::start();
    let page = server.get("/");
    assert_eq!(page.status, 200);
    assert!(page.body.starts_with("<!doctype html>"));
    assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
    assert_eq!(page.header("content-security-policy"), POLICY);
    assert_eq!(page.header("x-content-type-options"), "nosniff");
    assert_eq!(page.header("referrer-policy"), "no-referrer");
    assert_eq!(page.header("access-control-allow-origin"), "");
}

#[test]
fn everything_that_the_page_loads_is_there() {
    let server = Server::start();
    let page = server.get("/").body;
    let named = page.split('"').filter(|text| text.starts_with("page/"));
    let mut files: Vec<String> = named.map(|file| format!("/{file}")).collect();
    let mut at = 0;
    while let Some(path) = files.get(at).cloned() {
        let file = server.get(&path);
        assert_eq!(file.status, 200, "{path}");
        let expected = if path.ends_with(".css") {
            "text/css; charset=utf-8"
        } else {
            "text/javascript; charset=utf-8"
        };
        assert_eq!(file.header("content-type"), expected);
        let imports = file.body.split('\'').filter_map(|text| text.strip_prefix("./"));
        for import in imports.filter(|import| import.ends_with(".js")) {
            let import = format!("/page/{import}");
            if !files.contains(&import) {
                files.push(import);
            }
        }
        at += 1;
    }
    assert!(files.len() > 3, "{files:?}");
}

#[test]
fn a_file_that_is_known_is_not_sent_again() {
    let server = Server::start();
    let first = server.get("/page/style.css");
    let tag = first.header("etag");
    assert!(tag.len() > 2);
    let again = server.call("GET", "/page/style.css", &[("if-none-match", tag)], "");
    assert_eq!((again.status, again.body.len()), (304, 0));
    assert_eq!(again.header("etag"), tag);
}

#[test]
fn nothing_outside_of_the_page_is_served() {
    let server = Server::start();
    for path in
        ["/page/../page.rs", "/page/%2e%2e/page.rs", "/page/..%2fpage.rs", "/page//etc/passwd"]
    {
        let request =
            format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        let answer = server.raw(request.as_bytes());
        assert!(answer.starts_with("HTTP/1.1 404 "), "{path}: {answer}");
    }
}
