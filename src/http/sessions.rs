//! Sessions and their transcripts.

use axum::Json;
use axum::extract::Path;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use super::drafts::Object;
use super::live::{Source, Stay, StreamEvent, stream};
use super::parameters::Parameters;
use super::problem::Problem;
use super::scope::{TenantAppends, TenantReads};
use super::threads::{EventsJson, limit, numbered};
use crate::session::{
    Announce, Announced, Extended, Origin, Place, Scene, SessionName, Transcript, TranscriptName,
};
use crate::words::{Code, EntryId, Topic};

/// How many sessions are listed when nothing is said.
const LISTED: usize = 100;

/// A new transcript.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Begin {
    session: String,
    transcript: String,
    /// `start` when it is left out.
    origin: Option<String>,
    of: Option<String>,
    at: Option<u64>,
    /// Whether viewers are not told.
    #[serde(default)]
    quiet: bool,
    /// The first entries.
    events: Option<EventsJson>,
}

impl Begin {
    fn place(&self) -> Result<Place, Problem> {
        let usage = |what: &str| Problem::new(Code::Usage, what).at("origin");
        let origin = match (self.origin.as_deref().unwrap_or("start"), &self.of, self.at) {
            ("start", None, None) => Origin::Start,
            ("fork", Some(of), Some(at)) => Origin::Fork { of: of.clone(), at },
            ("compaction", Some(of), None) => Origin::Compaction { of: of.clone() },
            _ => return Err(usage("it is start; fork with of and at; or compaction with of")),
        };
        Ok(Place {
            session: SessionName::parse(&self.session)?,
            transcript: TranscriptName::parse(&self.transcript)?,
            origin,
            announce: if self.quiet { Announce::Quietly } else { Announce::Live },
        })
    }
}

/// `GET /v1/sessions/{tenant}`: sessions, the newest first.
pub async fn list(
    TenantReads(log): TenantReads,
    parameters: Parameters,
) -> Result<Response, Problem> {
    parameters.allow(&["after", "limit"])?;
    let after: Option<Announced> = parameters.read("after", Code::Cursor, str::parse)?;
    let listed = log.sessions(after, limit(&parameters, LISTED)?).await?;
    let session = |it: &crate::session::Listed| {
        json!({"session": it.session.as_str(), "began": it.began.to_string(), "author": it.author,
            "transcripts": it.transcripts, "newest": it.newest.as_str()})
    };
    let sessions: Vec<Value> = listed.sessions.iter().map(session).collect();
    let next = listed.next.map(|next| next.to_string());
    Ok(Json(json!({"sessions": sessions, "next": next})).into_response())
}

/// `POST /v1/sessions/{tenant}`: begins a transcript, and with its first one the session.
pub async fn begin(
    TenantAppends(log): TenantAppends,
    Object { said: asked, room: _room }: Object<Begin>,
) -> Result<Response, Problem> {
    let place = asked.place()?;
    let events = match &asked.events {
        Some(events) => events.events(log.tenant(), &topic_of(&place.transcript)?)?,
        None => Vec::new(),
    };
    let extended = log.begin_transcript(&place, events).await?;
    Ok((StatusCode::CREATED, Json(extended_json(extended))).into_response())
}

/// `GET /v1/sessions/{tenant}/{session}`: its transcripts, the newest first.
pub async fn transcripts(
    TenantReads(log): TenantReads,
    Path((_, session)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let listed = log.transcripts(&SessionName::parse(&session)?).await?;
    let transcript = |it: &crate::session::ListedTranscript| {
        let mut json = json!({"transcript": it.transcript.as_str(), "began": it.began.to_string(),
            "author": it.author, "quiet": it.announce == Announce::Quietly});
        add_origin(&mut json, &it.origin);
        json
    };
    let transcripts: Vec<Value> = listed.iter().map(transcript).collect();
    Ok(Json(json!({"session": session, "transcripts": transcripts})).into_response())
}

/// `GET /v1/sessions/{tenant}/{session}/follow`: the newest transcript, and then what happens.
pub async fn follow(
    log: TenantReads,
    Path((_, session)): Path<(String, String)>,
    stay: Stay,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let session = SessionName::parse(&session)?;
    let place = stay.begin(&log)?;
    let (first, mirror) = log.0.mirror(&session).await?;
    let first = StreamEvent::new("reset", None, scene(&first));
    stream(&headers, Some(first), place, Source::Session(Box::new(mirror)))
}

/// `GET /v1/transcripts/{tenant}/{transcript}`: all of it; `through=ID` reads another branch.
pub async fn read(
    TenantReads(log): TenantReads,
    Path((_, name)): Path<(String, String)>,
    parameters: Parameters,
) -> Result<Response, Problem> {
    parameters.allow(&["through"])?;
    let through: Option<EntryId> = parameters.parse("through")?;
    let name = TranscriptName::parse(&name)?;
    let read = log.transcript_through(&name, through).await?;
    Ok(Json(transcript_json(&read)).into_response())
}

/// `POST /v1/transcripts/{tenant}/{transcript}`: appends to it; `after=ID` says after which entry.
pub async fn extend(
    TenantAppends(log): TenantAppends,
    Path((_, name)): Path<(String, String)>,
    parameters: Parameters,
    Object { said: events, room: _room }: Object<EventsJson>,
) -> Result<Response, Problem> {
    parameters.allow(&["after"])?;
    let after: Option<EntryId> = parameters.parse("after")?;
    let name = TranscriptName::parse(&name)?;
    let events = events.events(log.tenant(), &topic_of(&name)?)?;
    let extended = log.extend_transcript(&name, after, events).await?;
    Ok((StatusCode::CREATED, Json(extended_json(extended))).into_response())
}

/// To how many entries a transcript is cut, on which branch.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cut {
    to: u64,
    through: Option<String>,
}

/// `POST /v1/transcripts/{tenant}/{transcript}/truncate`: cuts it to its first entries.
pub async fn truncate(
    TenantAppends(log): TenantAppends,
    Path((_, name)): Path<(String, String)>,
    Object { said: Cut { to, through }, room: _room }: Object<Cut>,
) -> Result<Response, Problem> {
    let through = through.map(|id| id.parse::<EntryId>()).transpose();
    let through = through.map_err(|e| Problem::new(Code::Usage, e).at("through"))?;
    let name = TranscriptName::parse(&name)?;
    let cut = log.truncate_transcript(&name, through, to).await?;
    Ok((StatusCode::CREATED, Json(extended_json(cut))).into_response())
}

/// `POST /v1/transcripts/{tenant}/{transcript}/traces`: notes what happened beside it.
pub async fn trace(
    TenantAppends(log): TenantAppends,
    Path((_, name)): Path<(String, String)>,
    Object { said: events, room: _room }: Object<EventsJson>,
) -> Result<Response, Problem> {
    let name = TranscriptName::parse(&name)?;
    let topic = log.traces(&name)?.topic().clone();
    let ordinal = log.trace(&name, events.events(log.tenant(), &topic)?).await?;
    Ok((StatusCode::CREATED, Json(json!({"ordinal": ordinal}))).into_response())
}

fn topic_of(name: &TranscriptName) -> Result<Topic, Problem> {
    Topic::parse(&format!("transcript/{name}")).map_err(|e| Problem::new(Code::Name, e))
}

fn extended_json(extended: Extended) -> Value {
    let Extended { tip, ordinal, forked } = extended;
    json!({"tip": tip.to_string(), "ordinal": ordinal, "forked": forked})
}

/// A session as its viewers are given it.
pub fn scene(scene: &Scene) -> Value {
    transcript_json(&scene.transcript)
}

fn transcript_json(read: &Transcript) -> Value {
    let fork = |it: &crate::session::Fork| json!({"first": it.first.to_string(), "at": it.at});
    let mut json = json!({
        "session": read.session.as_str(),
        "transcript": read.name.as_str(),
        "began": read.began.to_string(),
        "length": read.length,
        "tip": read.tip.to_string(),
        "forks": read.forks.iter().map(fork).collect::<Vec<_>>(),
        "waiting": read.waiting,
        "entries": numbered(&read.entries),
    });
    add_origin(&mut json, &read.origin);
    json
}

fn add_origin(json: &mut Value, origin: &Origin) {
    let said = serde_json::to_value(origin);
    if let (Some(json), Ok(Value::Object(said))) = (json.as_object_mut(), said) {
        json.extend(said);
    }
}
