//! What queries and answers look like: as much of them as a name server in between has to know.
//!
//! hickory reads and writes headers, questions and names. What goes to
//! another server and what comes back passes as the bytes it was.

use std::net::IpAddr;

use hickory_proto::op::{Header, Message, MessageType, OpCode, Query as Question, ResponseCode};
use hickory_proto::rr::{DNSClass, Name, RecordType};
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder, BinEncodable};

/// docker's, in seconds.
const TTL: u32 = 600;
/// What a UDP answer holds when nothing else was said.
const PLAIN: u16 = 512;
/// A longer query is nobody's.
pub const LONGEST_QUERY: usize = 4096;
/// The header's length.
pub const HEADER: usize = 12;
/// As long as an answer over TCP can be.
pub const LONGEST_ANSWER: u16 = u16::MAX;

/// The question's name, by its place.
const NAME: [u8; 2] = [0xc0, HEADER as u8];
/// Says that longer datagrams are taken here, too: name, type, 4096 bytes, no flags, no options.
const OPT: [u8; 11] = [0, 0, 41, 16, 0, 0, 0, 0, 0, 0, 0];

const RESPONSE: u8 = 0x80;
const TRUNCATED: u8 = 0x02;
const RECURSION_DESIRED: u8 = 0x01;
const RECURSION_AVAILABLE: u8 = 0x80;
const OPCODE: u8 = 0x78;

/// One question.
#[derive(Debug, Clone)]
pub struct Query {
    /// The asker's number.
    pub id: u16,
    question: Question,
    /// Where the question ends in the query's bytes.
    pub end: usize,
    recursion_desired: bool,
    /// Bytes of a UDP answer that the asker takes.
    size: u16,
    edns: bool,
}

/// What bytes turned out to be.
#[derive(Debug)]
pub enum Read {
    /// A question.
    Query(Query),
    /// Not to be understood, and to be told so.
    Refused(Vec<u8>),
    /// Not even that.
    Nothing,
}

/// Understands a query.
pub fn read(bytes: &[u8]) -> Read {
    let mut decoder = BinDecoder::new(bytes);
    let Ok(header) = Header::read(&mut decoder) else { return Read::Nothing };
    if header.metadata.message_type == MessageType::Response {
        return Read::Nothing;
    }
    let refused = |code| Read::Refused(error(bytes, HEADER, code));
    if header.metadata.op_code != OpCode::Query {
        return refused(ResponseCode::NotImp);
    }
    if header.counts.queries != 1 || bytes.len() > LONGEST_QUERY {
        return refused(ResponseCode::FormErr);
    }
    let Ok(question) = Question::read(&mut decoder) else {
        return refused(ResponseCode::FormErr);
    };
    let end = decoder.index();
    let counts = header.counts;
    let mut size = None;
    // One that can't be read here may still make sense to another server.
    if counts.answers == 0 && counts.authorities == 0 && (1..=2).contains(&counts.additionals) {
        let count = usize::from(counts.additionals);
        let read = Message::read_records(&mut decoder, count, true, OpCode::Query);
        size = read.ok().and_then(|(_, edns, _)| edns).map(|edns| edns.max_payload());
    }
    Read::Query(Query {
        id: header.metadata.id,
        question,
        end,
        recursion_desired: header.metadata.recursion_desired,
        size: size.unwrap_or(PLAIN).max(PLAIN),
        edns: size.is_some(),
    })
}

impl Query {
    /// What is asked for.
    pub fn kind(&self) -> RecordType {
        self.question.query_type()
    }

    /// Whether it is asked of the internet, as all but a few curious ones are.
    pub fn is_internet(&self) -> bool {
        matches!(self.question.query_class(), DNSClass::IN | DNSClass::ANY)
    }

    /// The name, lower case, without a dot at its end; nothing when it can't be a host's.
    pub fn host(&self) -> Option<String> {
        let mut text = String::with_capacity(self.question.name().len());
        for label in self.question.name() {
            if !label.iter().all(|b| b.is_ascii_graphic() && *b != b'.') {
                return None;
            }
            if !text.is_empty() {
                text.push('.');
            }
            text.extend(label.iter().map(|b| char::from(b.to_ascii_lowercase())));
        }
        (!text.is_empty()).then_some(text)
    }

    /// The address whose name is asked for.
    pub fn reversed(&self) -> Option<IpAddr> {
        let whole = self.question.name().parse_arpa_name().ok()?;
        let full = if whole.addr().is_ipv4() { 32 } else { 128 };
        (whole.prefix_len() == full).then(|| whole.addr())
    }

    /// The answer that `addresses` are the name's: those of the asked kind.
    pub fn addresses(&self, addresses: &[IpAddr], over_tcp: bool) -> Vec<u8> {
        let (four, six) = match self.kind() {
            RecordType::A => (true, false),
            RecordType::AAAA => (false, true),
            RecordType::ANY => (true, true),
            _ => (false, false),
        };
        let wanted = addresses.iter().filter(|a| if a.is_ipv4() { four } else { six });
        let data = wanted.map(|address| match address {
            IpAddr::V4(v4) => (RecordType::A, v4.octets().to_vec()),
            IpAddr::V6(v6) => (RecordType::AAAA, v6.octets().to_vec()),
        });
        self.answer(data, over_tcp)
    }

    /// The answer that the address is `name`'s.
    pub fn named(&self, name: &str, over_tcp: bool) -> Option<Vec<u8>> {
        let name = Name::from_labels(name.split('.').map(str::as_bytes)).ok()?;
        let data = std::iter::once((RecordType::PTR, name.to_bytes().ok()?));
        Some(self.answer(data, over_tcp))
    }

    /// An answer with these records of the question's name, as many as there is room for.
    fn answer(&self, data: impl Iterator<Item = (RecordType, Vec<u8>)>, over_tcp: bool) -> Vec<u8> {
        let mut message = Message::response(self.id, OpCode::Query);
        message.metadata.recursion_desired = self.recursion_desired;
        message.metadata.recursion_available = true;
        message.add_query(self.question.clone());
        let Ok(mut bytes) = message.to_vec() else { return Vec::new() };
        let limit = usize::from(if over_tcp { LONGEST_ANSWER } else { self.size });
        let limit = limit - if self.edns { OPT.len() } else { 0 };
        let mut count: u16 = 0;
        // hickory writes so many names in full, lest reading them be work.
        for (kind, data) in data {
            if bytes.len() + NAME.len() + 10 + data.len() > limit {
                bytes[2] |= TRUNCATED;
                break;
            }
            bytes.extend(NAME);
            bytes.extend(u16::from(kind).to_be_bytes());
            bytes.extend(u16::from(DNSClass::IN).to_be_bytes());
            bytes.extend(TTL.to_be_bytes());
            bytes.extend((data.len() as u16).to_be_bytes());
            bytes.extend(data);
            count += 1;
        }
        bytes[6..8].copy_from_slice(&count.to_be_bytes());
        if self.edns {
            bytes.extend(OPT);
            bytes[11] = 1;
        }
        bytes
    }
}

/// What another server's reply is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reply {
    /// An answer, to be passed on.
    Answer,
    /// Ask the next server.
    Failure,
    /// Not to our question.
    Foreign,
}

/// Looks at a reply to `query`, which was asked under the number `id`.
pub fn judge(reply: &[u8], query: &[u8], id: u16) -> Reply {
    let Ok(header) = Header::read(&mut BinDecoder::new(reply)) else { return Reply::Foreign };
    let meta = header.metadata;
    if meta.id != id || meta.message_type != MessageType::Response || meta.op_code != OpCode::Query
    {
        return Reply::Foreign;
    }
    let failed = matches!(meta.response_code, ResponseCode::ServFail | ResponseCode::Refused);
    match header.counts.queries {
        1 if question(reply).is_some_and(|asked| Some(asked) == question(query)) => {
            if failed {
                Reply::Failure
            } else {
                Reply::Answer
            }
        }
        // A server that didn't understand may leave the question away.
        0 if meta.response_code != ResponseCode::NoError => Reply::Failure,
        _ => Reply::Foreign,
    }
}

/// The question of a message. Names are compared without regard to case.
fn question(message: &[u8]) -> Option<Question> {
    let mut decoder = BinDecoder::new(message);
    Header::read(&mut decoder).and_then(|_| Question::read(&mut decoder)).ok()
}

/// The query whose first `end` bytes these are failed with `code`. Never longer than the query.
pub fn error(query: &[u8], end: usize, code: ResponseCode) -> Vec<u8> {
    let end = end.clamp(HEADER, query.len());
    let mut bytes = query[..end].to_vec();
    bytes[2] = RESPONSE | bytes[2] & (OPCODE | RECURSION_DESIRED);
    bytes[3] = RECURSION_AVAILABLE | code.low();
    bytes[4..HEADER].fill(0);
    bytes[5] = u8::from(end > HEADER);
    bytes
}

/// Gives a message another number.
pub fn renumber(message: &mut [u8], id: u16) {
    message[..2].copy_from_slice(&id.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn plain(name: &str, kind: RecordType) -> Vec<u8> {
        let mut message = Message::query();
        message.add_query(Question::query(Name::from_ascii(name).unwrap(), kind));
        message.to_vec().unwrap()
    }

    fn understood(bytes: &[u8]) -> Query {
        match read(bytes) {
            Read::Query(query) => query,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn names_are_hosts_or_not() {
        assert_eq!(understood(&plain("A.b-C.", RecordType::A)).host().unwrap(), "a.b-c");
        assert_eq!(understood(&plain(".", RecordType::A)).host(), None);
        let mut odd = plain("ab.", RecordType::A);
        for byte in [b'.', 0, 0xff, b' '] {
            odd[14] = byte;
            assert_eq!(understood(&odd).host(), None);
        }
    }

    #[test]
    fn only_whole_addresses_have_names() {
        let reversed = |name: &str| understood(&plain(name, RecordType::PTR)).reversed();
        assert_eq!(reversed("4.3.2.1.in-addr.arpa."), Some("1.2.3.4".parse().unwrap()));
        for name in ["3.2.1.in-addr.arpa.", "300.3.2.1.in-addr.arpa.", "1.ip6.arpa.", "x."] {
            assert_eq!(reversed(name), None, "{name}");
        }
    }

    #[test]
    fn an_answer_without_room_is_cut() {
        let query = understood(&plain("many.", RecordType::A));
        let all: Vec<IpAddr> = (0..=255).map(|n| IpAddr::from([10, 0, 0, n])).collect();
        let cut = query.addresses(&all, false);
        assert!(cut.len() <= 512 && cut[2] & 2 != 0);
        assert_eq!(Message::from_vec(&query.addresses(&all, true)).unwrap().answers.len(), 256);
    }

    #[test]
    fn only_the_answer_to_the_question_is_one() {
        let asked = plain("Web.", RecordType::A);
        let id = u16::from_be_bytes([asked[0], asked[1]]);
        let reply = understood(&asked).addresses(&[], false);
        assert_eq!(judge(&reply, &asked, id), Reply::Answer);
        assert_eq!(judge(&reply, &asked, id.wrapping_add(1)), Reply::Foreign);
        assert_eq!(judge(&reply, &plain("wEB.", RecordType::A), id), Reply::Answer);
        assert_eq!(judge(&reply, &plain("web.", RecordType::AAAA), id), Reply::Foreign);
        assert_eq!(judge(&reply, &plain("wob.", RecordType::A), id), Reply::Foreign);
        let failed = error(&asked, reply.len(), ResponseCode::ServFail);
        assert_eq!(judge(&failed, &asked, id), Reply::Failure);
        let bare = error(&asked, HEADER, ResponseCode::FormErr);
        assert_eq!(judge(&bare, &asked, id), Reply::Failure);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            if let Read::Refused(answer) = read(&bytes) {
                prop_assert!(answer.len() <= bytes.len() && answer.len() == HEADER);
            }
            let asked = plain("web.", RecordType::A);
            prop_assert_eq!(judge(&bytes, &asked, 7), judge(&bytes, &asked, 7));
        }

        #[test]
        fn changed_queries_are_answered_or_refused(
            changes in proptest::collection::vec((0usize..60, any::<u8>()), 0..8),
            name in "[a-z]{1,20}(\\.[a-z]{1,20}){0,2}\\.",
            cut in 0usize..80,
        ) {
            let mut bytes = plain(&name, RecordType::A);
            bytes.extend([0, 0, 41, 16, 0, 0, 0, 0, 0, 0, 0]);
            bytes[11] = 1;
            for (at, byte) in changes {
                if let Some(b) = bytes.get_mut(at) {
                    *b = byte;
                }
            }
            bytes.truncate(bytes.len().saturating_sub(cut % 4));
            if let Read::Query(query) = read(&bytes) {
                prop_assert!((HEADER..=bytes.len()).contains(&query.end));
                let _ = (query.host(), query.reversed(), query.named("web.app", false));
                let all: Vec<IpAddr> = (0..=255).map(|n| IpAddr::from([10, 0, 0, n])).collect();
                let answer = query.addresses(&all, false);
                prop_assert!(answer.len() <= usize::from(query.size));
                let refused = error(&bytes, query.end, ResponseCode::ServFail);
                prop_assert!(refused.len() <= bytes.len());
                prop_assert!(Message::from_vec(&refused).is_ok());
            }
        }
    }
}
