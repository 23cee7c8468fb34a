//! Answers that make no sense do no harm.

use proptest::prelude::*;

use super::super::answer::{Address, Found, Route, messages, pairs};

fn read(bytes: &[u8]) -> usize {
    let mut seen = 0;
    let _ = messages(bytes, &mut |message| {
        seen += 1;
        let _ = Found::read(message.body);
        let _ = Address::read(message.body);
        let _ = Route::read(message.body);
        seen += pairs(message.body).count();
    });
    seen
}

/// A message of `kind` with a body, and a length that may lie.
fn message(kind: u16, flags: u16, lie: i8, body: &[u8]) -> Vec<u8> {
    let length = (16 + body.len() as i64 + i64::from(lie)).max(0) as u32;
    let mut bytes = length.to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend([0; 8]);
    bytes.extend(body);
    bytes
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic_or_loop(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
        prop_assert!(read(&bytes) <= bytes.len());
    }

    #[test]
    fn no_message_makes_it_panic_or_loop(
        kind in prop_oneof![Just(2_u16), Just(3), Just(4), Just(16), Just(20), Just(24)],
        flags: u16,
        lie in -20_i8..20,
        body in proptest::collection::vec(prop_oneof![0_u8..32, any::<u8>()], 0..128),
        cut in 0_usize..64,
    ) {
        let mut bytes = message(kind, flags, lie, &body);
        bytes.extend(message(kind, flags, 0, &body));
        bytes.truncate(bytes.len().saturating_sub(cut));
        prop_assert!(read(&bytes) <= bytes.len());
    }
}

#[test]
fn a_refusals_words_are_found_behind_the_request() {
    let mut body = (-libc::EPERM).to_ne_bytes().to_vec();
    // The request's header, then the kernel's words.
    body.extend(16_u32.to_ne_bytes());
    body.extend([0; 12]);
    body.extend([8, 0, 1, 0]);
    body.extend(b"no!\0");
    let mut ending = None;
    messages(&message(2, 0x300, 0, &body), &mut |message| ending = message.ending).unwrap();
    let ending = ending.unwrap();
    assert_eq!((ending.errno, ending.text.as_deref()), (libc::EPERM, Some("no!")));
    // No errno of the kernel's, and the lowest number of all.
    for errno in [5_i32, i32::MIN] {
        let bytes = message(2, 0, 0, &errno.to_ne_bytes());
        messages(&bytes, &mut |message| assert!(message.ending.unwrap().errno >= 0)).unwrap();
    }
}
