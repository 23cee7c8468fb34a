//! Names, digests, places, platforms: what was read is written, and read again as the same.
#![no_main]

use dhow_image::digest::Digest;
use dhow_image::platform::Platform;
use dhow_image::reference::Reference;
use dhow_image::transport::Place;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(name) = Reference::parse_normal(text) {
        for text in [name.to_string(), name.familiar()] {
            assert_eq!(Reference::parse_normal(&text).unwrap(), name, "{text}");
        }
    }
    if let Ok(place) = text.parse::<Place>() {
        let text = place.to_string();
        assert_eq!(text.parse::<Place>().unwrap(), place, "{text}");
    }
    if let Ok(digest) = text.parse::<Digest>() {
        assert_eq!(digest.to_string(), text);
    }
    let _ = text.parse::<Platform>();
});
