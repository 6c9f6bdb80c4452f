//! Reading under a name: the node keeps the reader's place, and nobody else moves it meanwhile.
//!
//! A place is said after what lies before it was printed. So a reader that is cut off sees some of it
//! again, and misses nothing.

use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::{Value, json};

use super::client::Client;
use super::failure::Failure;
use crate::words::Code;

/// How often a place that has moved is said.
const SAID_EVERY: Duration = Duration::from_secs(1);
/// How long a lease lasts, and when it is renewed.
const LEASE_SECONDS: u64 = 30;
const RENEWED_AFTER: Duration = Duration::from_secs(10);

/// A named cursor that this process reads under, until it is ended.
pub struct Consuming {
    place: Arc<Mutex<Place>>,
    ending: SyncSender<()>,
    saying: JoinHandle<Result<(), Failure>>,
}

#[derive(Default)]
struct Place {
    /// What was read and is not said yet.
    unsaid: Option<String>,
    /// Whether the place can't be said any more.
    is_lost: bool,
}

/// What is needed of a node's answer.
#[derive(Deserialize)]
struct Kept {
    position: String,
}

impl Consuming {
    /// Takes the lease of a named cursor, which is made when it is missing. Returns its place, too.
    ///
    /// # Errors
    /// Another reader has it, or the node doesn't answer.
    pub fn begin(client: Client, name: &str) -> Result<(Self, String), Failure> {
        let mut random = [0; 4];
        getrandom::fill(&mut random)
            .map_err(|error| Failure::new(Code::Io, "no random bytes", error))?;
        let holder = format!("{}-{}", std::process::id(), hex::encode(random));
        let path = path(name, None);
        let lease = json!({"holder": holder, "lease_seconds": LEASE_SECONDS});
        let Kept { position } = client.put(&path, &lease)?;
        let place = Arc::new(Mutex::new(Place::default()));
        let (ending, ended) = sync_channel(1); // only its end counts
        let shared = place.clone();
        let saying = std::thread::spawn(move || {
            let said = say(&client, &path, &holder, &shared, || ended.recv_timeout(SAID_EVERY));
            lock(&shared).is_lost = said.is_err();
            said
        });
        Ok((Self { place, ending, saying }, position))
    }

    /// Notes that everything before this place was printed. False when the place can't be said any
    /// more: then nothing further is to be printed.
    pub fn read(&self, cursor: &str) -> bool {
        let mut place = lock(&self.place);
        place.unsaid = Some(cursor.to_owned());
        !place.is_lost
    }

    /// Says the last place, and gives the lease back.
    ///
    /// # Errors
    /// The node didn't take it: what was printed will be read again.
    pub fn end(self) -> Result<(), Failure> {
        drop(self.ending);
        let failed = |_| Failure::new(Code::Io, "the place can't be kept", "its thread ended");
        self.saying.join().map_err(failed)?
    }
}

/// Says the place as it moves, until waiting ends.
fn say(
    client: &Client,
    path: &str,
    holder: &str,
    place: &Mutex<Place>,
    wait: impl Fn() -> Result<(), RecvTimeoutError>,
) -> Result<(), Failure> {
    let mut renewed = Instant::now();
    loop {
        let is_over = wait() != Err(RecvTimeoutError::Timeout);
        let unsaid = lock(place).unsaid.take();
        if is_over || unsaid.is_some() || renewed.elapsed() >= RENEWED_AFTER {
            let seconds = if is_over { 0 } else { LEASE_SECONDS };
            let mut moved = json!({"holder": holder, "lease_seconds": seconds});
            if let Some(position) = unsaid {
                moved["position"] = position.into();
            }
            let _: Value = client.put(path, &moved)?;
            renewed = Instant::now();
        }
        if is_over {
            return Ok(());
        }
    }
}

/// The route of a named cursor: of a tenant's readers, where one is named.
pub fn path(name: &str, tenant: Option<&str>) -> String {
    let encoded = |text: &str| -> String {
        form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>().replace('+', "%20")
    };
    let tenant = tenant.map(|tenant| format!("?tenant={}", encoded(tenant)));
    format!("/v1/cursors/{}{}", encoded(name), tenant.unwrap_or_default())
}

fn lock(place: &Mutex<Place>) -> MutexGuard<'_, Place> {
    place.lock().unwrap_or_else(PoisonError::into_inner)
}
