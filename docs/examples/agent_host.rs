//! An agent host: a session is begun, extended, forked, watched, given to a model, and archived.
//!
//! `cargo run --example agent_host`

use serde_json::json;
use towline::node::series::Most;
use towline::session::{
    Announce, Event, FeedFrom, Mirrored, Origin, Place, SessionName, TenantLog, Told,
    TranscriptName, Transition,
};
use towline::words::{Tenant, Topic};
use towline::{Config, Node};

type Failure = Box<dyn std::error::Error>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let place = tempfile::tempdir()?;
    let node = Node::open(Config::new(place.path())).await?;
    let acme = TenantLog::new(node.clone(), Tenant::parse("acme")?)?;

    let (session, first) = (SessionName::parse("agent-7")?, TranscriptName::parse("first")?);
    let begin = |transcript: &TranscriptName, origin| Place {
        session: session.clone(),
        transcript: transcript.clone(),
        origin,
        announce: Announce::Live,
    };
    let system = Event::text("system", "You review changes.")?;
    acme.begin_transcript(&begin(&first, Origin::Start), vec![system]).await?;

    // A viewer is given what there is, and then hears what comes.
    let (scene, mut viewer) = acme.mirror(&session, Most::entries(100)).await?;
    println!("a viewer sees {} entry of {}", scene.transcript.length, scene.transcript.name);
    acme.extend_transcript(&first, None, vec![Event::text("question", "Is it good?")?]).await?;
    if let Some(Mirrored::Entry(entry)) = viewer.next().await? {
        println!("and then: {}", String::from_utf8_lossy(&entry.entry.body.data));
    }

    // Two workers answer at once. Neither is lost, and both read what they wrote.
    let mut one = acme.transcript_writer(&first, None).await?;
    let mut two = acme.transcript_writer(&first, None).await?;
    one.append(vec![Event::text("answer", "Yes.")?]).await?;
    let extended = two.append(vec![Event::text("answer", "No.")?]).await?;
    println!("the second writer forked it: {}", extended.forked);
    for writer in [&one, &two] {
        let read = writer.read().await?;
        let last = read.entries.last().map(|it| String::from_utf8_lossy(&it.entry.body.data));
        println!("  a branch of {} entries ends in {:?}", read.length, last.unwrap_or_default());
    }

    // The conversation goes on from its second entry, under another name.
    let second = TranscriptName::parse("second")?;
    let fork = Origin::Fork { of: "first".to_owned(), at: 2 };
    let again = Event::text("answer", "Let me look again.")?;
    acme.begin_transcript(&begin(&second, fork), vec![again]).await?;
    for listed in acme.transcripts(&session, None, 100).await?.transcripts {
        println!("transcript {}: {:?}", listed.transcript, listed.origin);
    }

    // What the agent works on is a state machine, and its recent history goes into the prompt.
    let story = Topic::parse("story/42")?;
    for (from, to) in [("backlog", "coding"), ("coding", "review")] {
        let step = Transition { from: from.into(), to: to.into(), event: None };
        acme.transitions().record(story.clone(), &step).await?;
    }
    let thread = acme.thread(story);
    thread.append(vec![Event::json("result", &json!({"tests": "green"}))?]).await?;
    print!("for the prompt:\n{}", thread.context(2_000).await?);

    // The first step is archived: here at once, and on every node once the statement is there.
    let archived = thread.archive_before(1).await?;
    let left = thread.load_since(0).await?;
    println!("{} archived; what is left begins with {}", archived.count, left[0].ordinal);
    let (snapshot, _tail) = thread.follow(Most::entries(10)).await?;
    println!("a snapshot of the story has {} entries", snapshot.entries.len());

    // Everything of the tenant, in one numbered list.
    let mut feed = acme.feed().follow(FeedFrom::Start).await?;
    let latest = acme.feed().latest().await?;
    let mut kinds = Vec::new();
    while feed.position() < latest
        && let Some(Told::Entry(next)) = feed.next().await?
    {
        kinds.push(next.entry.body.kind.to_string());
    }
    println!("the feed has {} entries: {}", kinds.len(), kinds.join(", "));
    node.shutdown().await?;
    Ok(())
}
