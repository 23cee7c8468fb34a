//! Manifests, lists and configs.
#![no_main]

use dhow_image::config::ImageConfig;
use dhow_image::manifest::{self, Index, Manifest, Parsed};
use dhow_image::platform::Platform;
use dhow_image::{bundle, edit::Doc};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    match manifest::parse(data, "", "x") {
        Ok(Parsed::Manifest(_)) => {
            let doc = Doc::<Manifest>::parse(data, "x").unwrap();
            assert_eq!(doc.bytes().unwrap(), data, "what nobody has changed keeps its bytes");
        }
        Ok(Parsed::Index(index)) => {
            let _ = manifest::choose(&index, &Platform::host(), "x");
            let _ = Doc::<Index>::parse(data, "x").and_then(|doc| doc.bytes());
        }
        Err(_) => {}
    }
    if let Ok(config) = ImageConfig::parse(data, "x") {
        let home = "/".to_owned();
        let user = bundle::user::User { uid: 0, gid: 0, additional_gids: vec![0], home };
        let _ = bundle::config(&config, &user, &bundle::config::Options::default());
    }
});
