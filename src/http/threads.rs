//! Topics as threads: append, load, archive, follow, as text; feeds, transitions and personas.

use axum::Extension;
use axum::Json;
use axum::extract::{FromRequest, Path, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::RawValue;

use super::live::{Source, reset, stream};
use super::media;
use super::parameters::Parameters;
use super::problem::Problem;
use super::stream::Places;
use crate::node::series::Most;
use crate::node::{Node, Persona};
use crate::session::{
    CONTEXT_CHARACTERS, Event, FeedFrom, Numbered, SessionError, TenantLog, Thread, Transition,
};
use crate::words::json::{DraftJson, EntryJson, Lateness};
use crate::words::{Code, Tenant, Topic};

/// How many entries a page holds when nothing is said, and at most.
const PAGE: usize = 100;
const PAGE_MOST: usize = 10_000;
/// The largest body, in bytes.
const BODY_BYTES: usize = 16 << 20;
/// How many bytes of payload a page or a snapshot holds at most, about.
const ANSWER_BYTES: usize = 4 << 20;

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

/// The log of the tenant that a path names. Every route of this kind begins here.
pub fn log_of(node: Node, tenant: &str) -> Result<TenantLog, Problem> {
    let tenant = Tenant::parse(tenant).map_err(|e| Problem::new(Code::Name, e).at("tenant"))?;
    Ok(TenantLog::new(node, tenant)?)
}

fn thread_of(node: Node, (tenant, topic): (String, String)) -> Result<Thread, Problem> {
    let topic = Topic::parse(&topic).map_err(|e| Problem::new(Code::Name, e).at("topic"))?;
    Ok(log_of(node, &tenant)?.thread(topic))
}

/// A body of JSON, 16 MiB at most.
pub async fn body<T: DeserializeOwned>(request: Request) -> Result<T, Problem> {
    let bytes = axum::body::to_bytes(request.into_body(), BODY_BYTES).await;
    let too_large =
        |_| Problem::new(Code::TooLarge, format!("a body is at most {BODY_BYTES} bytes"));
    serde_json::from_slice(&bytes.map_err(too_large)?).map_err(|e| Problem::new(Code::Malformed, e))
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

/// A body of JSON, as an extractor.
pub struct Body16<T>(pub T);

impl<S: Sync, T: DeserializeOwned> FromRequest<S> for Body16<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        body(request).await.map(Self)
    }
}

/// `GET /v1/topics/{tenant}/{topic}`: where the thread stands.
pub async fn standing(
    State(node): State<Node>,
    Path(path): Path<(String, String)>,
) -> Result<Response, Problem> {
    let thread = thread_of(node, path)?;
    let Some(standing) = thread.standing().await?.filter(|standing| standing.end > 0) else {
        let (tenant, topic) = (thread.log().tenant().clone(), thread.topic().clone());
        return Err(SessionError::UnknownThread { tenant, topic }.into());
    };
    Ok(Json(json!({"end": standing.end, "watermark": standing.watermark})).into_response())
}

/// `POST /v1/topics/{tenant}/{topic}/entries`: appends events, and answers the last one's ordinal.
pub async fn append(
    State(node): State<Node>,
    Path(path): Path<(String, String)>,
    Body16(events): Body16<EventsJson>,
) -> Result<Response, Problem> {
    let thread = thread_of(node, path)?;
    let events = events.events(thread.log().tenant(), thread.topic())?;
    let ordinal = thread.append(events).await?;
    Ok((StatusCode::CREATED, Json(json!({"ordinal": ordinal}))).into_response())
}

/// `GET /v1/topics/{tenant}/{topic}/entries`: the entries after an ordinal.
pub async fn load(
    State(node): State<Node>,
    Path(path): Path<(String, String)>,
    parameters: Parameters,
) -> Result<Response, Problem> {
    parameters.allow(&["after", "limit"])?;
    let thread = thread_of(node, path)?;
    let after = parameters.parse("after")?.unwrap_or(0);
    let most = Most { entries: limit(&parameters, PAGE)?, bytes: ANSWER_BYTES };
    let page = thread.page(after, most).await?;
    let answer = json!({"entries": numbered(&page.entries), "next": page.next});
    Ok(Json(answer).into_response())
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
    State(node): State<Node>,
    Path(path): Path<(String, String)>,
    Body16(Watermark { watermark }): Body16<Watermark>,
) -> Result<Response, Problem> {
    let thread = thread_of(node, path)?;
    let archived = thread.archive_before(watermark).await?.count;
    let standing = thread.standing().await?.unwrap_or_default();
    Ok(Json(json!({"archived": archived, "watermark": standing.watermark})).into_response())
}

/// `GET /v1/topics/{tenant}/{topic}/context`: the newest entries as text for a language model.
pub async fn context(
    State(node): State<Node>,
    Path(path): Path<(String, String)>,
    headers: HeaderMap,
    parameters: Parameters,
) -> Result<Response, Problem> {
    parameters.allow(&["characters"])?;
    let characters = parameters.parse("characters")?.unwrap_or(CONTEXT_CHARACTERS);
    let text = thread_of(node, path)?.context(characters).await?;
    if media::accepts(&headers, media::JSON) {
        return Ok(Json(json!({"context": text})).into_response());
    }
    Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response())
}

/// `GET /v1/topics/{tenant}/{topic}/follow`: the newest entries, and then what comes.
pub async fn follow(
    State(node): State<Node>,
    Path(path): Path<(String, String)>,
    Extension(places): Extension<Places>,
    headers: HeaderMap,
    parameters: Parameters,
) -> Result<Response, Problem> {
    parameters.allow(&["limit"])?;
    let thread = thread_of(node, path)?;
    let place = places.take()?;
    let most = Most { entries: limit(&parameters, PAGE)?, bytes: ANSWER_BYTES };
    let (snapshot, tail) = thread.follow(most).await?;
    Ok(stream(&headers, Some(reset(&snapshot)), place, Source::Thread(tail)))
}

/// `GET /v1/feeds/{tenant}`: all entries of a tenant from a position on, and then what comes.
pub async fn feed(
    State(node): State<Node>,
    Path(tenant): Path<String>,
    Extension(places): Extension<Places>,
    headers: HeaderMap,
    parameters: Parameters,
) -> Result<Response, Problem> {
    parameters.allow(&["after", "without"])?;
    let log = log_of(node, &tenant)?;
    let mut feed = log.feed();
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
    let place = places.take()?;
    let tail = feed.follow(from).await?;
    Ok(stream(&headers, None, place, Source::Feed(tail)))
}

/// `GET /v1/feeds/{tenant}/latest`: the newest position, the oldest that is replayed, and how many
/// events the node dropped.
pub async fn latest(
    State(node): State<Node>,
    Path(tenant): Path<String>,
) -> Result<Response, Problem> {
    let feed = log_of(node, &tenant)?.feed();
    let (latest, floor) = (feed.latest().await?, feed.floor().await?);
    let dropped = feed.dropped().await?;
    Ok(Json(json!({"latest": latest, "floor": floor, "dropped": dropped})).into_response())
}

/// `GET /v1/topics/{tenant}/{topic}/transitions`: the steps of a state machine, by author and seq.
pub async fn transitions(
    State(node): State<Node>,
    Path((tenant, topic)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let thread = thread_of(node, (tenant, topic))?;
    let steps = thread.log().transitions().read(thread.topic().clone()).await?;
    let step = |(step, entry): &(Transition, Numbered)| {
        json!({"id": entry.entry.id().to_string(), "ordinal": entry.ordinal,
            "time": entry.entry.time.to_string(), "from": step.from, "to": step.to,
            "event": step.event})
    };
    let steps: Vec<_> = steps.iter().map(step).collect();
    Ok(Json(json!({"transitions": steps})).into_response())
}

/// `POST /v1/topics/{tenant}/{topic}/transitions`: appends a step.
pub async fn record(
    State(node): State<Node>,
    Path(path): Path<(String, String)>,
    Body16(step): Body16<Transition>,
) -> Result<Response, Problem> {
    let thread = thread_of(node, path)?;
    let ordinal = thread.log().transitions().record(thread.topic().clone(), &step).await?;
    Ok((StatusCode::CREATED, Json(json!({"ordinal": ordinal}))).into_response())
}

/// `GET /v1/personas/{tenant}`: all personas by name.
pub async fn personas(
    State(node): State<Node>,
    Path(tenant): Path<String>,
) -> Result<Response, Problem> {
    Ok(Json(json!({"personas": log_of(node, &tenant)?.personas().await?})).into_response())
}

/// `PUT /v1/personas/{tenant}/{name}`: gives a persona a name.
pub async fn set_persona(
    State(node): State<Node>,
    Path((tenant, name)): Path<(String, String)>,
    Body16(persona): Body16<Persona>,
) -> Result<Response, Problem> {
    log_of(node, &tenant)?.set_persona(&name, &persona).await?;
    Ok(Json(json!({"name": name, "persona": persona})).into_response())
}

/// The persona that the parameter `persona` names, of the tenant that `tenant` names.
///
/// # Errors
/// There is none of this name.
pub async fn persona_asked(
    node: &Node,
    parameters: &Parameters,
) -> Result<Option<Persona>, Problem> {
    let Some(name) = parameters.text("persona") else { return Ok(None) };
    let log = log_of(node.clone(), parameters.text("tenant").unwrap_or("default"))?;
    Ok(Some(log.persona(name).await?))
}
