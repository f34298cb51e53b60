//! What a producer does: the lines of the producer's list.

use super::{Line, differs, line};

pub(super) const LINES: [Line; 149] = [
    // lifecycle and configuration
    differs(
        1,
        "nothing can be sent before the start",
        "there is no producer before it is started; the type says so",
    ),
    differs(
        2,
        "a second start is refused and harms nothing",
        "a builder is consumed by its start; there is nothing to start twice",
    ),
    line(3, "group names are checked at the start"),
    line(
        4,
        "one producer per group and client; the group is free again afterwards",
    ),
    line(
        5,
        "clients without a name of their own have different ids and connections",
    ),
    line(6, "producers of one client share its id and connections"),
    line(
        7,
        "unit name and stream mark appear in client id and requests",
    ),
    line(
        8,
        "shutdown takes the group out of every broker; sends fail afterwards; repeating it is silent",
    ),
    line(
        9,
        "what is in flight at shutdown completes exactly once, in time",
    ),
    line(10, "nothing of a client is left after its end"),
    line(
        11,
        "name servers from the environment; an explicit list wins; http:// prefixes are dropped",
    ),
    line(
        12,
        "a name server that refuses connections does not fail a send",
    ),
    line(
        13,
        "name servers are looked up over HTTP when none is configured, and again later",
    ),
    line(14, "without any name server a send fails at once"),
    line(
        15,
        "a heartbeat names the client and its groups, and no consumers",
    ),
    line(
        16,
        "a new connection to a broker carries a heartbeat within a second",
    ),
    line(
        17,
        "heartbeats go to masters every period, and not to brokers that left every route",
    ),
    line(
        18,
        "over the VIP channel sends go to the port below by two, heartbeats do not",
    ),
    line(
        19,
        "the newer namespace is named in every request, and leaves names alone",
    ),
    line(
        20,
        "the older namespace prefixes names on the wire and nowhere else",
    ),
    line(
        21,
        "every request names the language, RUST or what is configured",
    ),
    // message model
    line(
        22,
        "property text survives a round trip; golden texts of properties, batch items and offset ids",
    ),
    line(
        23,
        "reserved property names and blank names or values are refused",
    ),
    line(
        24,
        "separators in properties and property text beyond 32767 bytes are refused",
    ),
    line(
        25,
        "a message id holds address, process and time in 32 hexadecimal digits",
    ),
    line(26, "100,000 ids made by 8 threads are all different"),
    line(
        27,
        "ids decode across the end of a month, and with an IPv6 address",
    ),
    line(28, "a message that is sent again keeps its id"),
    line(29, "a message with three keys is found by each of them"),
    line(
        30,
        "a priority is checked, and chooses the queue at the broker",
    ),
    line(31, "the caller's message is the same after the send"),
    // validation
    line(32, "topic names are checked"),
    line(
        33,
        "sends to the system's own topics are refused, to two of them not",
    ),
    line(
        34,
        "bodies are neither missing nor empty nor beyond the limit",
    ),
    line(35, "names of a multi-dispatch contain no path separator"),
    line(
        36,
        "an asynchronous send of an invalid message fails through its future or callback",
    ),
    line(
        37,
        "a chosen queue of another topic is refused in every mode",
    ),
    // route
    line(
        38,
        "the queues of a route are those of its brokers, by name and number; one request",
    ),
    line(
        39,
        "brokers that are read-only or have no master contribute no queue",
    ),
    line(
        40,
        "an order configuration names the queues, whatever their permissions",
    ),
    line(
        41,
        "a topic that does not exist is sent to where its first message creates it",
    ),
    line(
        42,
        "a topic without a route, or without a queue to write to, is an error of its own",
    ),
    line(43, "a thousand first sends share one route request"),
    line(44, "a cached route is used until it is refreshed"),
    line(
        45,
        "new queues are used after a refresh; the round robin goes on when nothing changed",
    ),
    line(
        46,
        "without name servers a cached route serves on, and a missing one is an error in time",
    ),
    line(47, "a route with bare numbers as keys is read"),
    line(48, "a broker's new address is used after a refresh"),
    line(
        49,
        "queues of a static topic lead to the brokers that hold them",
    ),
    // queue selection
    line(50, "queues are visited in order from a random start"),
    line(51, "a failed attempt is followed by one at another broker"),
    line(52, "a single broker is tried again with its next queue"),
    line(
        53,
        "without the latency switch nothing is remembered of faults",
    ),
    line(
        54,
        "a broker isolated by a fault is left alone for its time",
    ),
    line(55, "a fast success does not end an isolation"),
    line(56, "the isolation grows with the time of an attempt"),
    line(
        57,
        "among isolated brokers a reachable one is chosen; there is always a queue",
    ),
    line(
        58,
        "the detector asks unreachable brokers until they answer",
    ),
    line(
        59,
        "the values of 4.x: a fast success ends an isolation of up to ten minutes",
    ),
    line(
        60,
        "picking one at least finds a reachable broker where there is one",
    ),
    // synchronous sends
    line(
        61,
        "a result says where the message is and what it is called",
    ),
    line(62, "the header of a send, with short and with long names"),
    line(
        63,
        "three codes are results without the full durability, and are not retried",
    ),
    line(
        64,
        "with the switch for it they are retried, and are results when nothing better comes",
    ),
    line(
        65,
        "retryable codes get three attempts, and the error has the code and the brokers",
    ),
    line(
        66,
        "other codes are final, unless added to the retryable ones",
    ),
    line(
        67,
        "refusing brokers and silent brokers end a send with their codes, in time",
    ),
    line(
        68,
        "a broker without an address costs one refresh of the route",
    ),
    line(
        69,
        "the cap of an attempt holds until the last one, which has the rest",
    ),
    line(
        70,
        "a connect that hangs is bounded by the time of the send",
    ),
    line(71, "attempts of a message share its id, and nothing else"),
    line(72, "a chosen queue is tried once"),
    line(
        73,
        "missing parts of an answer have defaults or are an error, never a panic",
    ),
    line(74, "bodies are compressed from 4096 bytes on"),
    line(
        75,
        "LZ4 and Zstandard; a body that does not shrink goes plain",
    ),
    line(76, "half messages and unit mode set their flags"),
    line(77, "retry topics carry their counts in every attempt"),
    // asynchronous sends
    line(78, "a callback is called once, and its panic harms nobody"),
    line(79, "an answer with an error is not retried"),
    line(
        80,
        "a closed connection is retried at another broker, with a queue that is there",
    ),
    line(81, "a chosen queue is retried at its own broker"),
    line(
        82,
        "silence ends the send at its deadline, without another try",
    ),
    line(83, "refused connections are retried, a full client is not"),
    differs(
        84,
        "a million sends to a slow broker need bounded memory",
        "Java bounds the executor's queue and rejects beyond it; here the messages in flight are always bounded, and further sends wait",
    ),
    line(
        85,
        "no more messages than allowed are in flight; the next waits, and fails in time",
    ),
    line(
        86,
        "no more bytes than allowed are in flight; what can never fit fails at once",
    ),
    line(87, "every place is given back, whatever the sends came to"),
    line(
        88,
        "what one task enqueues to one queue arrives in that order",
    ),
    // one-way sends
    line(
        89,
        "a one-way send is done when handed over, and hears of nothing after",
    ),
    line(
        90,
        "a one-way send to a dead broker is an error, after one attempt",
    ),
    line(
        91,
        "one-way places run out in time, and come back with each write",
    ),
    // selectors
    line(92, "the hash selector chooses as Java does"),
    line(
        93,
        "a selector that chooses nothing or fails, fails its send only",
    ),
    line(94, "a selector sees the names that the application uses"),
    // batches
    line(
        95,
        "a batch is one request, never compressed; its messages keep what they are",
    ),
    line(96, "what cannot be in a batch is refused without traffic"),
    line(
        97,
        "an encoded batch has the limit of a message; the splitter respects it",
    ),
    line(98, "the result of a batch has the ids in order"),
    line(
        99,
        "single sends are gathered to batches, and each caller has its own result",
    ),
    line(
        100,
        "a gathered message leaves after its delay, or when enough is held",
    ),
    line(
        101,
        "what differs in tags, waiting or queue is not gathered; some messages never are",
    ),
    line(
        102,
        "a gathered batch that fails, fails every caller, and nothing stays held",
    ),
    line(103, "the options of gathering have bounds"),
    // transactions
    line(
        104,
        "transactions need a checker and no delay; nothing is sent else",
    ),
    line(
        105,
        "a half message is marked, and invisible until it is committed",
    ),
    line(
        106,
        "commit, rollback and unknown reach the broker, and mean what they say",
    ),
    line(107, "a local transaction that panics is unknown"),
    line(108, "a half message without full durability is rolled back"),
    line(109, "a check-back is answered from the checker"),
    line(
        110,
        "checks for others are ignored, and checks beyond the limit dropped",
    ),
    line(
        111,
        "a half message that cannot be sent runs no local transaction",
    ),
    line(112, "another process of the group answers the checks"),
    // request and reply
    line(113, "a request has its reply from another process"),
    line(114, "a request without a reply ends in time, once"),
    line(
        115,
        "a request that cannot be sent ends with the cause, once",
    ),
    line(
        116,
        "replies to what is no request, and replies that nobody awaits",
    ),
    line(117, "requests and replies between Java and Rust"),
    // delay, recall, administration
    line(118, "a delay level delays, and the last one is the limit"),
    line(119, "a delay in milliseconds delays, and can be recalled"),
    line(120, "a time beyond three days is refused by the broker"),
    line(121, "recall handles decode, and garbage is refused"),
    line(
        122,
        "a recalled message never arrives; a broker without the feature says so",
    ),
    line(123, "a topic is created on every master that is there"),
    line(
        124,
        "the queues of a topic are asked anew, without falling back to its template",
    ),
    line(125, "offsets and store times of a queue"),
    line(126, "a message is found by either of its ids"),
    line(
        127,
        "messages are found by key, exactly, also while a broker is down",
    ),
    // hooks and trace
    line(
        128,
        "send hooks see every attempt, and their panics are contained",
    ),
    line(
        129,
        "send hooks of an asynchronous send are called once before and once after",
    ),
    line(130, "a forbidden hook ends the send with its own error"),
    line(131, "hooks see the kind of the message"),
    line(132, "trace messages have Java's form"),
    line(
        133,
        "trace records are gathered, sent in time, and flushed at shutdown",
    ),
    line(134, "what is traced and what is not"),
    line(135, "a full trace queue drops and counts records"),
    line(136, "RPC hooks see every request and every response"),
    line(
        137,
        "every request is signed last, and a wrong secret is refused",
    ),
    // remoting
    line(138, "concurrent first sends share one connection"),
    line(139, "a connection that ends fails all its requests at once"),
    line(
        140,
        "a timed-out request leaves nothing behind; late and unknown responses are ignored",
    ),
    line(
        141,
        "a silent connection is closed after a timeout, one that is alive is kept",
    ),
    line(
        142,
        "places for requests run out in time, without harm to the connection",
    ),
    line(
        143,
        "an idle connection is closed, and made again when needed",
    ),
    line(
        144,
        "a broker that goes away is asked again on a new connection, once",
    ),
    line(
        145,
        "a name server that dies is left for another, which then stays",
    ),
    line(146, "requests that a client does not know are answered so"),
    line(
        147,
        "oversized and malformed frames end the connection, and nothing else",
    ),
    line(
        148,
        "TLS with a certificate that is trusted, and with one that is not",
    ),
    line(149, "a dropped send gives back what it held"),
];
