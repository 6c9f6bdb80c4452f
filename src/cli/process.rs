//! The process itself: its threads, and the signals that end it.

use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::failure::{Failure, Stop};
use crate::words::Code;

/// The threads on which nodes run. A panic on any of them ends the process: it would leave a node
/// that looks alive and isn't. Nothing is lost that was acknowledged.
///
/// # Errors
/// The system gives no threads.
pub fn runtime() -> Result<Runtime, Failure> {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        report(panic);
        std::process::abort();
    }));
    Runtime::new().map_err(|error| Failure::new(Code::Io, "no threads can be started", error))
}

/// The exit code of a command that a signal ended.
const INTERRUPTED: u8 = 130;

/// How many files a node may have open, if the system lets it: a connection is one.
const FILES: u64 = 16_384;

/// Takes as many open files as the system allows, up to [`FILES`]: shells allow fewer than that at
/// first, for the sake of programs of another time.
pub fn raise_files() {
    let mut limit = getrlimit(Resource::Nofile);
    let wanted = limit.maximum.map_or(FILES, |most| most.min(FILES));
    if limit.current.is_none_or(|current| current >= wanted) {
        return;
    }
    limit.current = Some(wanted);
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "the node may open few files");
    }
}

/// The signals by which a process is told to end: SIGTERM and SIGINT.
pub struct Told {
    terminate: Signal,
    interrupt: Signal,
}

impl Told {
    /// Hears the signals from now on, so that they don't end the process by themselves.
    ///
    /// # Errors
    /// The system refuses.
    pub fn listen() -> Result<Self, Failure> {
        let hear = |kind| {
            signal(kind).map_err(|error| Failure::new(Code::Io, "no signal can be heard", error))
        };
        let (terminate, interrupt) =
            (hear(SignalKind::terminate())?, hear(SignalKind::interrupt())?);
        Ok(Self { terminate, interrupt })
    }

    /// Waits for the next signal.
    ///
    /// # Cancel safety
    /// A call that is dropped loses none.
    pub async fn wait(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }

    /// Waits for the next signal, which ends a command before its work is done.
    pub async fn interrupted(&mut self) -> Stop {
        self.wait().await;
        Stop::Told(INTERRUPTED)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::{Command, Stdio};

    use super::*;

    /// Tells the child of the test below that it is the child.
    const CHILD: &str = "TOWLINE_TEST_PANICS";
    const NAME: &str = "cli::process::tests::a_panic_in_a_task_ends_the_process";

    #[test]
    fn a_panic_in_a_task_ends_the_process() {
        if std::env::var_os(CHILD).is_some() {
            let runtime = runtime().unwrap();
            runtime.block_on(async {
                tokio::spawn(async { panic!("on purpose") });
                // Whoever is alive by then was not ended by it.
                tokio::time::sleep(std::time::Duration::from_secs(30)).await;
            });
        }
        let mut child = Command::new(std::env::current_exe().unwrap());
        child.args(["--exact", NAME, "--nocapture"]).env(CHILD, "1");
        let ended = child.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
        assert_eq!(ended.signal(), Some(6), "aborted, {ended:?}");
    }
}
