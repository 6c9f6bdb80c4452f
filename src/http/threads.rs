//! Topics as threads: append, load, archive, follow, as text; feeds, transitions and personas.

use axum::Json;
use axum::extract::Path;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::RawValue;

use super::drafts::Object;
use super::live::{Source, Stay, stream};
use super::media;
use super::parameters::Parameters;
use super::problem::Problem;
use super::room::Room;
use super::scope::{TenantAppends, TenantReads};
use crate::node::series::Most;
use crate::node::{Cursor, Persona};
use crate::session::{
    CONTEXT_CHARACTERS, Event, FeedFrom, Numbered, SessionError, TenantLog, Thread, Transition,
};
use crate::words::json::{DraftJson, EntryJson, Lateness};
use crate::words::{Code, Tenant, Topic};

/// How many entries a page holds when nothing is said, and at most.
const PAGE: usize = 100;
const PAGE_MOST: usize = 10_000;
/// How many bytes of payload a page or a snapshot holds at most, about.
pub const ANSWER_BYTES: usize = 4 << 20;

impl From<SessionError> for Problem {
    fn from(error: SessionError) -> Self {
        Self::new(error.code(), error)
    }
}

/// An entry with its ordinal.
#[derive(Serialize)]
pub struct NumberedJson {
    ordinal: u64,
    #[serde(flatten)]
    entry: EntryJson,
}

impl From<&Numbered> for NumberedJson {
    fn from(numbered: &Numbered) -> Self {
        let entry = EntryJson::new(&numbered.entry, Lateness::InOrder);
        Self { ordinal: numbered.ordinal, entry }
    }
}

/// Entries with their ordinals.
pub fn numbered(entries: &[Numbered]) -> Vec<NumberedJson> {
    entries.iter().map(NumberedJson::from).collect()
}

/// A page with as much as there is room for.
pub async fn page_of(entries: usize) -> (Room, Most) {
    let (room, bytes) = Room::find().await;
    (room, Most { entries, bytes: bytes.min(ANSWER_BYTES) })
}

/// An answer that keeps its room until it is sent.
///
/// # Errors
/// None in practice: what is answered is always JSON.
pub fn answer(room: Room, answer: &impl Serialize) -> Result<Response, Problem> {
    let json = serde_json::to_vec(answer).map_err(|error| Problem::new(Code::Io, error))?;
    let headers = [(header::CONTENT_TYPE, media::JSON)];
    Ok((headers, room.bytes(json.into())).into_response())
}

fn thread_of(log: TenantLog, topic: &str) -> Result<Thread, Problem> {
    let topic = Topic::parse(topic).map_err(|e| Problem::new(Code::Name, e).at("topic"))?;
    Ok(log.thread(topic))
}

/// An event in a body: a draft whose tenant and topic may be left out.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EventJson {
    tenant: Option<String>,
    topic: Option<String>,
    kind: String,
    #[serde(default)]
    attributes: std::collections::BTreeMap<String, String>,
    content_type: Option<String>,
    data: Option<Box<RawValue>>,
    data_base64: Option<String>,
}

/// Events in a body: one, or an array.
#[derive(Deserialize)]
#[serde(transparent)]
pub struct EventsJson(Box<RawValue>);

impl EventsJson {
    /// The events, for a topic of a tenant.
    ///
    /// # Errors
    /// They are no events, or belong elsewhere.
    pub fn events(&self, tenant: &Tenant, topic: &Topic) -> Result<Vec<Event>, Problem> {
        let text = self.0.get();
        let malformed = |e: serde_json::Error| Problem::new(Code::Malformed, e);
        let given: Vec<EventJson> = if text.trim_start().starts_with('[') {
            serde_json::from_str(text).map_err(malformed)?
        } else {
            vec![serde_json::from_str(text).map_err(malformed)?]
        };
        given.into_iter().map(|event| event.read(tenant, topic)).collect()
    }
}

impl EventJson {
    fn read(self, tenant: &Tenant, topic: &Topic) -> Result<Event, Problem> {
        let draft = DraftJson {
            tenant: Some(self.tenant.unwrap_or_else(|| tenant.to_string())),
            topic: self.topic.unwrap_or_else(|| topic.to_string()),
            kind: self.kind,
            attributes: self.attributes,
            content_type: self.content_type,
            data: self.data,
            data_base64: self.data_base64,
        };
        Ok(Event::of_draft(draft.into_draft()?, tenant, topic)?)
    }
}

/// `GET /v1/topics/{tenant}/{topic}`: where the thread stands.
pub async fn standing(
    TenantReads(log): TenantReads,
    Path((_, topic)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let thread = thread_of(log, &topic)?;
    let Some(standing) = thread.standing().await?.filter(|standing| standing.end > 0) else {
        let (tenant, topic) = (thread.log().tenant().clone(), thread.topic().clone());
        return Err(SessionError::UnknownThread { tenant, topic }.into());
    };
    Ok(Json(json!({"end": standing.end, "watermark": standing.watermark})).into_response())
}

/// `POST /v1/topics/{tenant}/{topic}/entries`: appends events, and answers the last one's ordinal.
pub async fn append(
    TenantAppends(log): TenantAppends,
    Path((_, topic)): Path<(String, String)>,
    Object { said: events, room: _room }: Object<EventsJson>,
) -> Result<Response, Problem> {
    let thread = thread_of(log, &topic)?;
    let events = events.events(thread.log().tenant(), thread.topic())?;
    let ordinal = thread.append(events).await?;
    Ok((StatusCode::CREATED, Json(json!({"ordinal": ordinal}))).into_response())
}

/// `GET /v1/topics/{tenant}/{topic}/entries`: the entries after an ordinal.
pub async fn load(
    TenantReads(log): TenantReads,
    Path((_, topic)): Path<(String, String)>,
    parameters: Parameters,
) -> Result<Response, Problem> {
    parameters.allow(&["after", "limit"])?;
    let thread = thread_of(log, &topic)?;
    let after = parameters.parse("after")?.unwrap_or(0);
    let (room, most) = page_of(limit(&parameters, PAGE)?).await;
    let page = thread.page(after, most).await?;
    answer(room, &PageJson { entries: numbered(&page.entries), next: page.next })
}

#[derive(Serialize)]
struct PageJson {
    entries: Vec<NumberedJson>,
    next: Option<u64>,
}

/// How many are asked for.
///
/// # Errors
/// None, or too many.
pub fn limit(parameters: &Parameters, usual: usize) -> Result<usize, Problem> {
    match parameters.parse("limit")?.unwrap_or(usual) {
        limit @ 1..=PAGE_MOST => Ok(limit),
        _ => Err(Problem::new(Code::Usage, format!("it is 1 to {PAGE_MOST}")).at("limit")),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Watermark {
    watermark: u64,
}

/// `POST /v1/topics/{tenant}/{topic}/archive`: archives all entries up to an ordinal.
pub async fn archive(
    TenantAppends(log): TenantAppends,
    Path((_, topic)): Path<(String, String)>,
    Object { said: Watermark { watermark }, room: _room }: Object<Watermark>,
) -> Result<Response, Problem> {
    let thread = thread_of(log, &topic)?;
    let archived = thread.archive_before(watermark).await?.count;
    let standing = thread.standing().await?.unwrap_or_default();
    Ok(Json(json!({"archived": archived, "watermark": standing.watermark})).into_response())
}

/// `GET /v1/topics/{tenant}/{topic}/context`: the newest entries as text for a language model.
pub async fn context(
    TenantReads(log): TenantReads,
    Path((_, topic)): Path<(String, String)>,
    headers: HeaderMap,
    parameters: Parameters,
) -> Result<Response, Problem> {
    parameters.allow(&["characters"])?;
    let characters = parameters.parse("characters")?.unwrap_or(CONTEXT_CHARACTERS);
    let text = thread_of(log, &topic)?.context(characters).await?;
    if media::choose(&headers, &[media::PLAIN, media::JSON])? == media::JSON {
        return Ok(Json(json!({"context": text})).into_response());
    }
    Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response())
}

/// `GET /v1/topics/{tenant}/{topic}/follow`: the newest entries, and then what comes.
pub async fn follow(
    log: TenantReads,
    Path((_, topic)): Path<(String, String)>,
    stay: Stay,
    headers: HeaderMap,
    parameters: Parameters,
) -> Result<Response, Problem> {
    parameters.allow(&["limit"])?;
    let thread = thread_of(log.0.clone(), &topic)?;
    let place = stay.begin(&log)?;
    let most = Most { entries: limit(&parameters, PAGE)?, bytes: ANSWER_BYTES };
    stream(&headers, place, Source::Tail(Box::new(thread.tail(most).await?)))
}

/// `GET /v1/feeds/{tenant}`: all entries of a tenant from a position on, and then what comes.
pub async fn feed(
    log: TenantReads,
    stay: Stay,
    headers: HeaderMap,
    parameters: Parameters,
) -> Result<Response, Problem> {
    parameters.allow(&["after", "without"])?;
    let mut feed = log.0.feed();
    let without = parameters.text("without").unwrap_or_default();
    for kind in without.split(',').filter(|kind| !kind.is_empty()) {
        let kind = crate::words::Kind::parse(kind);
        feed = feed.without(kind.map_err(|e| Problem::new(Code::Name, e).at("without"))?);
    }
    let seen = headers.get("last-event-id").and_then(|id| id.to_str().ok());
    let from =
        match seen.filter(|id| !id.is_empty()).or(parameters.text("after")) {
            None => FeedFrom::Start,
            Some("latest") => FeedFrom::Latest,
            Some(position) => FeedFrom::After(position.parse().map_err(|_| {
                Problem::new(Code::Usage, "it is a position, or latest").at("after")
            })?),
        };
    let place = stay.begin(&log)?;
    stream(&headers, place, Source::Tail(Box::new(feed.follow(from).await?)))
}

/// `GET /v1/feeds/{tenant}/latest`: the newest position, the oldest that is replayed, and how many
/// events the node dropped.
pub async fn latest(TenantReads(log): TenantReads) -> Result<Response, Problem> {
    let feed = log.feed();
    let (latest, floor) = (feed.latest().await?, feed.floor().await?);
    let dropped = feed.dropped().await?;
    Ok(Json(json!({"latest": latest, "floor": floor, "dropped": dropped})).into_response())
}

/// `GET /v1/topics/{tenant}/{topic}/transitions`: the steps of a state machine, by author and seq.
pub async fn transitions(
    TenantReads(log): TenantReads,
    Path((_, topic)): Path<(String, String)>,
    parameters: Parameters,
) -> Result<Response, Problem> {
    parameters.allow(&["after", "limit"])?;
    let after: Option<Cursor> = parameters.read("after", Code::Cursor, str::parse)?;
    let thread = thread_of(log, &topic)?;
    let (room, most) = page_of(limit(&parameters, PAGE_MOST)?).await;
    let steps = thread.log().transitions().page(thread.topic().clone(), after, most).await?;
    let transitions = steps.steps.iter().map(|(step, numbered)| StepJson {
        id: numbered.entry.id().to_string(),
        ordinal: numbered.ordinal,
        time: numbered.entry.time.to_string(),
        from: &step.from,
        to: &step.to,
        event: step.event.as_ref(),
    });
    let next = steps.next.map(|next| next.to_string());
    answer(room, &StepsJson { transitions: transitions.collect(), next })
}

#[derive(Serialize)]
struct StepsJson<'s> {
    transitions: Vec<StepJson<'s>>,
    next: Option<String>,
}

#[derive(Serialize)]
struct StepJson<'s> {
    id: String,
    ordinal: u64,
    time: String,
    from: &'s str,
    to: &'s str,
    event: Option<&'s serde_json::Value>,
}

/// `POST /v1/topics/{tenant}/{topic}/transitions`: appends a step.
pub async fn record(
    TenantAppends(log): TenantAppends,
    Path((_, topic)): Path<(String, String)>,
    Object { said: step, room: _room }: Object<Transition>,
) -> Result<Response, Problem> {
    let thread = thread_of(log, &topic)?;
    let ordinal = thread.log().transitions().record(thread.topic().clone(), &step).await?;
    Ok((StatusCode::CREATED, Json(json!({"ordinal": ordinal}))).into_response())
}

/// `GET /v1/personas/{tenant}`: personas by name.
pub async fn personas(
    TenantReads(log): TenantReads,
    parameters: Parameters,
) -> Result<Response, Problem> {
    parameters.allow(&["after", "limit"])?;
    let (room, most) = page_of(limit(&parameters, PAGE)?).await;
    let page = log.personas(parameters.text("after"), most).await?;
    answer(room, &PersonasJson { personas: page.personas, next: page.next })
}

#[derive(Serialize)]
struct PersonasJson {
    personas: std::collections::BTreeMap<String, Persona>,
    next: Option<String>,
}

/// `PUT /v1/personas/{tenant}/{name}`: gives a persona a name.
pub async fn set_persona(
    TenantAppends(log): TenantAppends,
    Path((_, name)): Path<(String, String)>,
    Object { said: persona, room: _room }: Object<Persona>,
) -> Result<Response, Problem> {
    log.set_persona(&name, &persona).await?;
    Ok(Json(json!({"name": name, "persona": persona})).into_response())
}
