//! The codes of all errors that people and programs see: stable, once shipped.

/// What went wrong, as `error[E0101]` on the command line and as `code` in a problem document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Code {
    /// The command line, or a parameter of a request, can't be understood.
    Usage,
    /// A tenant, topic, kind, attribute or content type is not well-formed, or reserved.
    Name,
    /// A payload or a body is over its bound.
    TooLarge,
    /// What was sent can't be read as entries.
    Malformed,
    /// There is nothing to append.
    Nothing,
    /// A cursor isn't one of this node.
    Cursor,
    /// There is no such entry, route or store.
    NotFound,
    /// An idempotency key was used for other entries.
    KeyReused,
    /// The entries were removed: the node keeps only some.
    Removed,
    /// The route doesn't know the method.
    Method,
    /// The body has a content type that is not understood.
    MediaType,
    /// The request is addressed to another host.
    Host,
    /// The request bears no token that is known here.
    Token,
    /// The token's rights, or its tenant, don't reach that far.
    Rights,
    /// None of the media types that are asked for can be had.
    NotAcceptable,
    /// A named cursor belongs to another reader, or can't be moved there.
    Held,
    /// Nothing of a thread has arrived.
    UnknownThread,
    /// A cursor lies past the end of its thread or feed.
    CursorBeyondEnd,
    /// A watermark lies beyond the end of its thread.
    WatermarkBeyondEnd,
    /// An event belongs to another tenant or topic.
    Foreign,
    /// A transcript can't be understood at a place.
    Corrupt,
    /// The transcript is there already.
    Exists,
    /// A transcript is shorter than was said.
    TooShort,
    /// Another process has the data directory.
    Locked,
    /// The key file can't be trusted or read.
    Key,
    /// The store can't be opened, or is damaged.
    Store,
    /// The data directory belongs to another cluster.
    Cluster,
    /// An address can't be listened on.
    Address,
    /// A peer string can't be understood.
    Peer,
    /// Something is there already that would be written over.
    Occupied,
    /// HTTP would be open to strangers.
    Unprotected,
    /// No node answers.
    Unreachable,
    /// The node can't write any more.
    Poisoned,
    /// The node is shutting down.
    Closing,
    /// It took too long.
    Timeout,
    /// The node records no more events for now.
    EmitRefused,
    /// The disk has no room: the node only reads, until it has some again.
    DiskFull,
    /// The node serves as many streams as it can.
    Busy,
    /// Something in a store is not as its authors signed it.
    Verification,
    /// What was read is not all that there was, and that was asked for.
    Incomplete,
    /// A file or a stream can't be read or written.
    Io,
}

/// Everything that is to be said of a code.
struct Facts {
    code: &'static str,
    title: &'static str,
    status: u16,
    exit: u8,
    explanation: &'static str,
}

impl Code {
    /// All codes, in order.
    pub const ALL: [Self; 41] = [
        Self::Usage,
        Self::Name,
        Self::TooLarge,
        Self::Malformed,
        Self::Nothing,
        Self::Cursor,
        Self::NotFound,
        Self::KeyReused,
        Self::Method,
        Self::MediaType,
        Self::Host,
        Self::Token,
        Self::Rights,
        Self::NotAcceptable,
        Self::Held,
        Self::UnknownThread,
        Self::CursorBeyondEnd,
        Self::WatermarkBeyondEnd,
        Self::Foreign,
        Self::Corrupt,
        Self::Exists,
        Self::TooShort,
        Self::Removed,
        Self::Locked,
        Self::Key,
        Self::Store,
        Self::Cluster,
        Self::Address,
        Self::Peer,
        Self::Occupied,
        Self::Unprotected,
        Self::Unreachable,
        Self::Poisoned,
        Self::Closing,
        Self::Timeout,
        Self::EmitRefused,
        Self::DiskFull,
        Self::Busy,
        Self::Verification,
        Self::Incomplete,
        Self::Io,
    ];

    /// The code itself, `E0101` say.
    pub fn text(self) -> &'static str {
        self.facts().code
    }

    /// What it means, in a few words.
    pub fn title(self) -> &'static str {
        self.facts().title
    }

    /// The status of an HTTP answer with this code.
    pub fn status(self) -> u16 {
        self.facts().status
    }

    /// The exit code of a command that ends with it.
    pub fn exit(self) -> u8 {
        self.facts().exit
    }

    /// What it means and what can be done, in full sentences.
    pub fn explanation(self) -> &'static str {
        self.facts().explanation
    }

    /// The code that a text names, in any case.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|code| code.text().eq_ignore_ascii_case(text))
    }

    fn facts(self) -> Facts {
        let facts = |code, title, status, exit, explanation| Facts {
            code,
            title,
            status,
            exit,
            explanation,
        };
        match self {
            Self::Usage => facts(
                "E0001",
                "the request can't be understood",
                400,
                2,
                "A flag, an argument or a parameter is unknown, missing or malformed. The command's \
                 --help, or docs/operations.md, says what it takes. Nothing was done.",
            ),
            Self::Name => facts(
                "E0002",
                "a name is not well-formed",
                400,
                2,
                "A tenant is 1 to 64 letters, digits, '.', '_' or '-'; a topic 1 to 256 bytes of \
                 text without control characters; a kind 1 to 128 bytes without spaces. The tenant \
                 'towline' and kinds that begin with 'towline.' are kept for towline itself.",
            ),
            Self::TooLarge => facts(
                "E0003",
                "it is too large",
                413,
                2,
                "A payload is at most 1 MiB, 64 KiB when it is emitted, and the body of a request \
                 16 MiB. Nothing was written: split it, or keep large objects elsewhere and append \
                 their address and digest.",
            ),
            Self::Malformed => facts(
                "E0004",
                "the entries can't be read",
                400,
                2,
                "A draft is {\"topic\",\"kind\",\"data\" or \"data_base64\"} with optional tenant, \
                 attributes and content_type; a body is one draft, an array of them, or one a line \
                 as application/x-ndjson. Nothing of the request was written.",
            ),
            Self::Nothing => facts(
                "E0005",
                "there is nothing to append",
                400,
                2,
                "The input held no entry at all.",
            ),
            Self::Cursor => facts(
                "E0006",
                "the cursor means nothing here",
                400,
                2,
                "A cursor is opaque text that a reader got, unchanged. One that begins with o: means \
                 something to the node and store that gave it, for a listing in the same order; one \
                 that begins with f: to every node of its cluster. Start again without a cursor, or \
                 ask the node that gave it.",
            ),
            Self::NotFound => facts(
                "E0007",
                "it is not here",
                404,
                1,
                "There is no such entry on this node (it may not have arrived yet), no such route, \
                 or no store at that place.",
            ),
            Self::KeyReused => facts(
                "E0008",
                "the idempotency key was used for other entries",
                409,
                7,
                "A key stands for the entries of its first use, so that a retry is harmless. Use a \
                 new key for new entries.",
            ),
            Self::Removed => facts(
                "E0029",
                "the entries were removed",
                410,
                7,
                "The node keeps only some entries, and these are gone. What a key once appended was \
                 appended; it is not appended again.",
            ),
            Self::Method => facts(
                "E0009",
                "the route doesn't know the method",
                405,
                1,
                "GET reads, POST appends or emits. docs/operations.md lists the routes.",
            ),
            Self::MediaType => facts(
                "E0010",
                "the content type is not understood",
                415,
                1,
                "Entries are application/json (one draft or an array), application/x-ndjson (one draft \
                 a line), or CloudEvents in binary, structured or batched mode.",
            ),
            Self::Host => facts(
                "E0011",
                "the request is for another host",
                421,
                1,
                "A node that listens on loopback answers requests for localhost and loopback \
                 addresses only, so that no web site can reach it through a name of its own.",
            ),
            Self::Token => facts(
                "E0012",
                "the token is missing or not valid",
                401,
                7,
                "The node answers only those who bear a token that it knows: `towline token add` \
                 makes one on its machine, and --token-file names the file that holds it. Commands \
                 that reach a node through its own data directory need none.",
            ),
            Self::Rights => facts(
                "E0013",
                "the token doesn't reach that far",
                403,
                7,
                "A token has rights (read, append) and may be bound to one tenant. The node's own \
                 state, and entries of other tenants, are out of the reach of one that is bound. A \
                 WebSocket that another web site opens is refused as well. Nothing was done.",
            ),
            Self::NotAcceptable => facts(
                "E0014",
                "the media type can't be had",
                406,
                1,
                "The Accept header names only media types that the route doesn't have. The message \
                 lists those that it has.",
            ),
            Self::Held => facts(
                "E0015",
                "the named cursor can't be moved now",
                409,
                7,
                "One reader at a time moves a named cursor: it has a lease, and others are refused \
                 until that ends or is given back. A cursor moves forward; `towline cursor set` \
                 moves it back, and ends a lease. Nothing was moved.",
            ),
            Self::UnknownThread => facts(
                "E0020",
                "the thread is not known here",
                404,
                1,
                "Nothing of this tenant and topic has arrived on this node. The name may be another \
                 one, or the entries are still on their way: towline nodes says who lags.",
            ),
            Self::CursorBeyondEnd => facts(
                "E0021",
                "the cursor lies past the end",
                400,
                2,
                "The cursor of a thread or a feed is an ordinal of this very node. It is above the \
                 newest entry here: it comes from another node, or from before this node's disk was \
                 lost. Begin at 0, or at the end.",
            ),
            Self::WatermarkBeyondEnd => facts(
                "E0022",
                "the watermark lies beyond the end",
                400,
                2,
                "Entries that are not here yet can't be archived. Nothing was written.",
            ),
            Self::Foreign => facts(
                "E0023",
                "the event belongs to another tenant or topic",
                403,
                7,
                "What is appended to a thread belongs to the tenant and the topic that the thread \
                 has. Leave them out of the event, or use the thread that it belongs to. Nothing was \
                 written.",
            ),
            Self::Corrupt => facts(
                "E0024",
                "the transcript is corrupt",
                500,
                3,
                "An entry at the place that is named can't be understood, or its bytes were damaged on \
                 this node's disk. In the first case something else wrote to the topic \
                 'transcript/NAME'; it can be read as a thread. In the second a peer that has the entry \
                 mends it, and another node reads it meanwhile.",
            ),
            Self::Exists => facts(
                "E0025",
                "the transcript is there already",
                409,
                7,
                "A transcript has one beginning. Extend it, or begin another one under a new name. \
                 Nothing was written.",
            ),
            Self::TooShort => facts(
                "E0026",
                "the transcript is shorter than that",
                400,
                2,
                "A transcript can be cut to as many entries as it has, or fewer, and forked at one of \
                 them. Nothing was written.",
            ),
            Self::Locked => facts(
                "E0101",
                "another process has the data directory",
                503,
                1,
                "One process at a time may have a data directory. Speak to the node that runs there \
                 (the same command with --data does), or stop it first.",
            ),
            Self::Key => facts(
                "E0102",
                "the key can't be trusted",
                503,
                1,
                "The file 'key' in the data directory holds the node's secret: 64 hex digits, \
                 readable by its owner only (chmod 600). Without it the store can't be written; \
                 restore it from a backup, or start a new node in another directory.",
            ),
            Self::Store => facts(
                "E0103",
                "the store can't be used",
                503,
                1,
                "The file log.sqlite is missing, damaged, of another program, of a newer towline, or \
                 belongs to another node. `towline verify` names the first bad place. `towline \
                 salvage` carries over what can be read of a damaged one and moves it aside. A node whose \
                 store is lost gets its log back from its peers: move the store away and start it.",
            ),
            Self::Cluster => facts(
                "E0104",
                "it is another cluster",
                409,
                1,
                "A data directory belongs to one cluster for ever. Use another directory.",
            ),
            Self::Address => facts(
                "E0105",
                "the address can't be listened on",
                503,
                1,
                "It is taken by another process, or not an address of this machine. Port 0 picks a \
                 free one.",
            ),
            Self::Peer => facts(
                "E0106",
                "the peer can't be understood",
                400,
                2,
                "A peer is ID@ADDRESS:PORT: the 64 hex digits that `towline init` prints, and an IP \
                 address with a port.",
            ),
            Self::Occupied => facts(
                "E0107",
                "something is there already",
                409,
                1,
                "A backup is not written over a file, nor a store restored over another one, unless \
                 --force says so. `backup --force` replaces the file once the new one is verified; \
                 `restore --force` moves the store that is there into a directory beside it. Nothing \
                 was changed.",
            ),
            Self::Unprotected => facts(
                "E0108",
                "HTTP would be open to strangers",
                503,
                2,
                "On an address that others can reach, HTTP needs a token (`towline token add`) and TLS \
                 (--tls-cert, --tls-key). --insecure starts the node without what is missing: behind a \
                 proxy that sees to both, say.",
            ),
            Self::Unreachable => facts(
                "E0201",
                "no node answers",
                503,
                5,
                "No node runs on the data directory, or nothing answers at --node. Start one with \
                 `towline run`.",
            ),
            Self::Poisoned => facts(
                "E0202",
                "the node can't write any more",
                503,
                7,
                "A commit failed: the disk is broken. What was acknowledged is safe. The node goes on \
                 reading; restart it when the cause is gone.",
            ),
            Self::Closing => facts(
                "E0203",
                "the node is shutting down",
                503,
                5,
                "It takes nothing more. Try again when it runs.",
            ),
            Self::Timeout => facts(
                "E0204",
                "it took too long",
                504,
                6,
                "With --ack peers=N the entries are durable on this node all the same, and on their \
                 way to the others: a retry without an idempotency key would append them twice.",
            ),
            Self::EmitRefused => facts(
                "E0205",
                "the event was not emitted",
                503,
                7,
                "The recorder's commits hang or the disk is full, and the emit numbers that are \
                 reserved on disk are used up; or the emit counter can't be written. The event took \
                 no number and nobody heard it.",
            ),
            Self::DiskFull => facts(
                "E0206",
                "the disk is full",
                507,
                7,
                "There is no room for another commit. Nothing of the request was written, and all that \
                 was acknowledged is safe. A running node goes on answering reads and sending to its \
                 peers, and takes appends again by itself, at most some seconds after 1 MiB is free. \
                 Events that are emitted meanwhile wait in the ring; what it can't hold is stated as a \
                 gap with reason disk_full. A node that can't even be started needs some room first.",
            ),
            Self::Busy => facts(
                "E0207",
                "the node serves as many streams as it can",
                503,
                7,
                "A node serves 8,192 streams at once. Nothing was read. Try again when another reader has \
                 gone, ask for pages, or read from another node.",
            ),
            Self::Verification => facts(
                "E0301",
                "the verification failed",
                500,
                3,
                "Something in the store is not as its author signed it: the place that is named, and \
                 maybe more after it. The other nodes hold the same log: move the store away, keep \
                 the key, and start the node to get it back from them.",
            ),
            Self::Incomplete => facts(
                "E0302",
                "the log is incomplete",
                500,
                4,
                "With --strict a reader ends at the first gap, which states events that were dropped, \
                 and at the first entry of a history that its author has forked. Everything before it \
                 was printed. Go on after it with the cursor in the message.",
            ),
            Self::Io => facts(
                "E0401",
                "a file or a stream can't be read or written",
                500,
                1,
                "The message names it, and what the system says.",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_found_by_its_text_and_by_no_other() {
        for code in Code::ALL {
            assert_eq!(Code::parse(&code.text().to_lowercase()), Some(code));
        }
        assert_eq!(Code::parse("E9999"), None);
    }
}
