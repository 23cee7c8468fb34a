//! Whatever the kernel says, or a table that others made: read without a word too much.

use proptest::prelude::*;

use super::super::object::{Element, comment_of};
use super::super::wire::{self, Family, Requests, Values, attributes};
use super::super::{beside, tracking, uplink};

/// Bytes like attributes, often enough well formed.
fn attribute_bytes() -> impl Strategy<Value = Vec<u8>> {
    let leaf = proptest::collection::vec(any::<u8>(), 0..40).boxed();
    leaf.prop_recursive(4, 64, 6, |inner| {
        proptest::collection::vec((0u16..28, inner, any::<bool>()), 0..6)
            .prop_map(|all| {
                attributes(|a| {
                    for (kind, value, nested) in all {
                        if nested {
                            a.nested(kind, |a| a.written(&value));
                        } else {
                            a.bytes(kind, &value);
                        }
                    }
                })
            })
            .boxed()
    })
}

proptest! {
    #[test]
    fn any_answer_is_read(bytes in attribute_bytes(), cut in 0usize..64) {
        let bytes = &bytes[..bytes.len().saturating_sub(cut)];
        let message: Vec<u8> = [2, 0, 0, 0].iter().chain(bytes).copied().collect();
        Element::read("x", Values::of(bytes));
        comment_of(Some(bytes));
        beside::read_any(&message);
        tracking::read_any(&message);
        uplink::read_any(&message);
    }

    #[test]
    fn any_datagram_is_taken_apart(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        for message in wire::messages(&bytes) {
            wire::verdict(&message);
            prop_assert!(message.payload.len() <= bytes.len());
        }
    }

    #[test]
    fn what_is_written_is_read(parts in proptest::collection::vec((1u16..0x3000, proptest::collection::vec(any::<u8>(), 0..100)), 0..8)) {
        let bytes = attributes(|a| parts.iter().for_each(|(kind, value)| a.bytes(*kind, value)));
        let read: Vec<_> = Values::of(&bytes).map(|(kind, value)| (kind, value.to_vec())).collect();
        prop_assert_eq!(read, parts);
    }

    #[test]
    fn comments_are_cut_where_letters_end(text in "\\PC{0,300}") {
        let element = Element::new("x", &[&[1]]).of(&text);
        let comment = element.comment.unwrap();
        prop_assert!(text.starts_with(&comment) && comment.len() <= 250);
    }
}

#[test]
fn refusals_have_their_reason_and_the_kernels_words() {
    // NLMSG_ERROR of ENOENT for message 3, capped, with "no such set".
    let mut payload = (-2i32).to_ne_bytes().to_vec();
    payload.extend([0; 16]);
    payload.extend(attributes(|a| a.text(1, "no such set")));
    let message = wire::Message { kind: wire::ERROR, flags: 0x300, number: 3, payload: &payload };
    assert_eq!(wire::verdict(&message), Some((2, Some("no such set".to_owned()))));
    // The same with the whole request in it.
    let mut payload = (-17i32).to_ne_bytes().to_vec();
    payload.extend(20u32.to_ne_bytes());
    payload.extend([7; 16]);
    payload.extend(attributes(|a| a.text(1, "is there")));
    let message = wire::Message { kind: wire::ERROR, flags: 0x200, number: 3, payload: &payload };
    assert_eq!(wire::verdict(&message), Some((17, Some("is there".to_owned()))));
}

#[test]
fn a_transaction_is_framed_as_the_kernel_wants_it() {
    let mut batch = Requests::transaction();
    batch.message((wire::TABLES, 0), wire::CREATE, Family::Inet, "make it", |a| a.text(1, "t"));
    batch.finish();
    let all: Vec<_> = wire::messages(&batch.bytes).collect();
    let kinds: Vec<_> = all.iter().map(|m| (m.kind, m.flags, m.number)).collect();
    assert_eq!(kinds, [(0x10, 1, 0), (10 << 8, 0x405, 1), (0x11, 1, 2)]);
    // Resource 10, nf_tables, in network order; then the attribute: length 6, kind 1, "t".
    assert_eq!(all[0].payload, [0, 0, 0, 10]);
    assert_eq!(
        all[1].payload,
        [&[1, 0, 0, 0][..], &6u16.to_ne_bytes(), &1u16.to_ne_bytes(), b"t\0\0\0"].concat()
    );
}

#[test]
fn a_kernel_without_nf_tables_is_told_of_with_what_helps() {
    use super::super::socket::Fault;
    let fault = Fault::new(nix::errno::Errno::EPROTONOSUPPORT, "open a netfilter socket");
    let message = crate::Error::from(fault).message;
    assert!(message.contains("modprobe") && message.contains("--network host"), "{message}");
    assert!(!message.contains('\n'));
}
