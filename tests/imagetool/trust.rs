//! Trust: `policy.json` and signatures, against a real registry, gpg and Debian's skopeo.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use e2e::{Cmd, Done, Registry, World};
use serde_json::{Value, json};

/// A world with a repository of its own, a sigstore key, and a `registries.d`.
struct Place {
    w: World,
    repository: String,
}

impl Place {
    fn new(short: &str) -> Self {
        let w = World::new();
        let repository = Registry::open().name(&w.id(short));
        w.pull("busybox");
        fs::write(w.path("pw"), "fair wind\nsecond line\n").unwrap();
        let folder = w.path("registries.d");
        fs::create_dir(&folder).unwrap();
        let host = Registry::open().host();
        let store = w.path("lookaside").display().to_string();
        let text = format!(
            "docker:\n  {host}:\n    use-sigstore-attachments: true\n    lookaside: file://{store}\n"
        );
        fs::write(folder.join("all.yaml"), text).unwrap();
        let place = Self { w, repository };
        place.key("k");
        place
    }

    fn key(&self, name: &str) {
        let words = ["generate-sigstore-key", "--output-prefix", name, "--passphrase-file", "pw"];
        self.w.image(words).ok().out_has(&format!("\"{name}.private\" and \"{name}.pub\""));
    }

    fn path(&self, below: &str) -> String {
        self.w.path(below).display().to_string()
    }

    /// A policy that rejects all but what meets this in our repository and in `dir:`.
    fn policy(&self, requirement: &Value) {
        let policy = json!({
            "default": [{ "type": "reject" }],
            "transports": {
                "docker": { &self.repository: [requirement] },
                "dir": { self.path("").trim_end_matches('/'): [requirement] },
            },
        });
        fs::write(self.w.path("policy.json"), policy.to_string()).unwrap();
    }

    fn image(&self, words: &[&str]) -> Done {
        let before = ["--registries.d", "registries.d", "--policy", "policy.json"];
        self.w.image([&before, words].concat())
    }

    /// Copies busybox out of the store, signed.
    fn sign(&self, key: &str, to: &str, more: &[&str]) -> Done {
        let key = format!("{key}.private");
        let words =
            ["copy", "--sign-by-sigstore-private-key", &key, "--sign-passphrase-file", "pw"];
        self.image(&[&words[..], more, &["busybox", to]].concat())
    }

    /// A pull that must be refused for this reason, and leave nothing.
    #[track_caller]
    fn refused(&self, name: &str, why: &str) {
        let before = self.w.image(["list", "--quiet"]).ok().out();
        let done = self.image(&["pull", "--quiet", name]).refused().err_has(why);
        assert_eq!(done.err().lines().count(), 1, "{done}");
        assert_eq!(self.w.image(["list", "--quiet"]).ok().out(), before, "nothing came in");
        let dir = format!("dir:{}", self.path("refused"));
        let from = format!("docker://{name}");
        self.image(&["copy", &from, &dir]).refused().err_has(why);
        assert!(!self.w.path("refused/manifest.json").exists());
    }

    fn keyed(&self, key: &str) -> Value {
        json!({ "type": "sigstoreSigned", "keyPath": self.path(&format!("{key}.pub")) })
    }
}

#[test]
fn what_is_signed_as_the_policy_wants_comes_in_and_nothing_else() {
    let p = Place::new("sigstore");
    let name = |tag: &str| format!("{}:{tag}", p.repository);
    p.policy(&p.keyed("k"));
    p.sign("k", &format!("docker://{}", name("1")), &[]).ok();
    p.image(&["pull", &name("1")]).ok();
    // By digest, a signature of any tag of the repository will do.
    let digest = p.image(&["copy", &format!("docker://{}", name("1")), "other"]).ok().out();
    p.image(&["pull", &format!("{}@{digest}", p.repository)]).ok();
    // The same manifest under another tag: the signature speaks of the first.
    p.w.image(["push", "busybox", &name("2")]).ok();
    p.refused(&name("2"), "Signature for identity");
    // What another key has signed, too.
    p.key("w");
    p.policy(&p.keyed("w"));
    p.refused(&name("1"), "cryptographic signature verification failed");
    // Another image than the one that was signed.
    p.policy(&p.keyed("k"));
    let other = format!("oci:{}", e2e::fixtures::layout().display());
    p.w.image(["copy", &format!("{other}:layers"), &format!("docker://{}", name("1"))]).ok();
    p.refused(&name("1"), "no signature exists");
    // What lies where signatures should is no signature, or no image at all.
    let raw = ["inspect", "--tls-verify=false", "--raw"];
    let manifest = p.w.cmd("skopeo").args(raw).arg(format!("docker://{}", name("1"))).run().ok();
    let digest = p.w.cmd("sha256sum").stdin(manifest.stdout).run().ok().out();
    let tag = format!("sha256-{}.sig", &digest[..64]);
    p.w.image(["copy", &format!("{other}:busybox"), &format!("docker://{}", name(&tag))]).ok();
    p.refused(&name("1"), "no signature exists");
    // A name that the policy says nothing of.
    let elsewhere = Registry::open().name("busybox");
    p.refused(&elsewhere, &format!("Running image docker://{elsewhere}:latest is rejected"));
    // Both of two requirements.
    let twice = json!({ "type": "sigstoreSigned", "keyPaths": [p.path("w.pub")],
        "signedIdentity": { "type": "matchRepository" } });
    p.policy(&twice);
    p.sign("w", &format!("docker://{}", name("3")), &["--sign-identity", &name("9")]).ok();
    p.image(&["pull", &name("3")]).ok();
    p.policy(&p.keyed("w"));
    p.refused(&name("3"), "Signature for identity");
    p.policy(&json!({ "type": "sigstoreSigned", "keyPath": p.path("w.pub"), "signedIdentity": {
        "type": "remapIdentity", "prefix": p.repository, "signedPrefix": "vendor.example/x" } }));
    let identity = ["--sign-identity", "vendor.example/x:4"];
    p.sign("w", &format!("docker://{}", name("4")), &identity).ok();
    p.image(&["pull", &name("4")]).ok();
}

#[test]
fn a_broken_policy_lets_nothing_in() {
    let p = Place::new("broken");
    p.policy(&p.keyed("k"));
    let name = format!("{}:1", p.repository);
    p.sign("k", &format!("docker://{name}"), &[]).ok();
    let reject = r#"{"default":[{"type":"insecureAcceptAnything"}]"#;
    for (text, why) in [
        (String::new(), "trust policy"),
        (format!("{reject},\"default\":[]}}"), "duplicate key"),
        (format!("{reject},\"x\":1}}"), "unknown key"),
        (r#"{"default":[]}"#.to_owned(), "must not be empty"),
        (r#"{"default":[{"type":"signedBy","keyType":"GPGKeys"}]}"#.to_owned(), "keyPath"),
    ] {
        fs::write(p.w.path("policy.json"), text).unwrap();
        p.refused(&name, why);
    }
    fs::remove_file(p.w.path("policy.json")).unwrap();
    p.refused(&name, "policy.json");
    // Keys that can't be read, and what can't be verified here.
    p.policy(&json!({ "type": "sigstoreSigned", "keyPath": "/nowhere/k.pub" }));
    p.refused(&name, "/nowhere/k.pub");
    fs::write(p.w.path("bad.pub"), "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n")
        .unwrap();
    p.policy(
        &json!({ "type": "sigstoreSigned", "keyPaths": [p.path("k.pub"), p.path("bad.pub")] }),
    );
    p.refused(&name, "public key");
    p.policy(&json!({ "type": "sigstoreSigned", "fulcio": { "caPath": "/x", "oidcIssuer": "i",
        "subjectEmail": "e" }, "rekorPublicKeyPath": p.path("k.pub") }));
    p.refused(&name, "Fulcio");
    p.policy(&json!({ "type": "sigstoreSigned", "keyPath": p.path("k.pub"),
        "rekorPublicKeyPath": p.path("k.pub") }));
    p.refused(&name, "bundle");
    p.policy(&json!({ "type": "signedBaseLayer", "baseLayerIdentity": { "type": "matchExact" } }));
    p.refused(&name, "signedBaseLayer");
    // The user's own policy holds without a flag, for dhow too; --insecure-policy is above it.
    p.policy(&json!({ "type": "reject" }));
    let home = p.w.path("home/.config/containers");
    fs::create_dir_all(&home).unwrap();
    fs::rename(p.w.path("policy.json"), home.join("policy.json")).unwrap();
    p.w.image(["pull", &name]).refused().err_has("rejected by policy");
    p.w.dhow(["pull", &name]).refused().err_has("rejected by policy");
    p.w.image(["save", "--output", "a.tar", "busybox"]).ok();
    p.w.dhow(["load", "-i", "a.tar"]).refused().err_has("rejected by policy");
    p.w.image(["load", "a.tar"]).refused().err_has("rejected by policy");
    p.w.image(["--insecure-policy", "pull", &name]).ok();
    p.w.image(["--require-signed", "--policy", "/etc/containers/policy.json", "pull", &name])
        .refused()
        .err_has("No signature verification policy found");
}

#[test]
fn signatures_in_a_directory_are_skopeos_and_bounded() {
    let p = Place::new("dir");
    let wanted = |identity: &str| {
        let mut keyed = p.keyed("k");
        keyed["signedIdentity"] = json!({ "type": "exactReference", "dockerReference": identity });
        p.policy(&keyed);
    };
    wanted("a.example/b:1");
    let dir = format!("dir:{}", p.path("d"));
    p.sign("k", &dir, &[]).refused().err_has("--sign-identity");
    p.sign("k", &dir, &["--sign-identity", "b:1"]).refused().err_has("in full");
    p.sign("k", &dir, &["--sign-identity", "a.example/b:1"]).ok();
    p.image(&["copy", &dir, "there"]).ok();
    // They go along, and not where there is no place for them.
    let second = format!("dir:{}", p.path("e"));
    p.image(&["copy", &dir, &second]).ok();
    let file = p.w.path("d/signature-1");
    let signature = fs::read(&file).unwrap();
    assert_eq!(fs::read(p.w.path("e/signature-1")).unwrap(), signature);
    let layout = format!("oci:{}:x", p.path("layout"));
    p.image(&["copy", &dir, &layout]).refused().err_has("--remove-signatures");
    p.image(&["copy", "--remove-signatures", &dir, &layout]).ok();
    // A manifest that is changed isn't the one that was signed.
    let changed = ["copy", "--format", "v2s2", &dir, &second];
    p.image(&changed).refused().err_has("signatures");
    p.image(&["copy", "--remove-signatures", &dir, &second]).ok();
    assert!(!p.w.path("e/signature-1").exists(), "an old signature would be taken for its own");
    p.image(&["copy", &second, "there"]).refused().err_has("no signature exists");
    wanted("a.example/b:2");
    p.image(&["copy", &dir, "other"]).refused().err_has("is not accepted");
    wanted("a.example/b:1");
    // Tampered with: in the payload, in the signature, in what they are.
    let text = String::from_utf8_lossy(&signature).into_owned();
    let at = text.find("\"payload\":\"").unwrap() + 40;
    for (at, why) in [(at, ""), (text.len() - 20, ""), (5, "format")] {
        let mut bad = signature.clone();
        bad[at] = if bad[at] == b'A' { b'B' } else { b'A' };
        fs::write(&file, bad).unwrap();
        p.image(&["copy", &dir, "bad"]).refused().err_has(why);
    }
    // Too large, too many, no file.
    fs::write(&file, vec![b'\x90'; 5 << 20]).unwrap();
    p.image(&["copy", &dir, "bad"]).refused().err_has("over");
    fs::write(&file, &signature).unwrap();
    for n in 2..140 {
        fs::write(p.w.path(format!("d/signature-{n}")), &signature).unwrap();
    }
    p.image(&["copy", &dir, "bad"]).refused().err_has("more than 128 signatures");
    fs::remove_file(&file).unwrap();
    nix::unistd::mkfifo(&file, nix::sys::stat::Mode::S_IRWXU).unwrap();
    p.image(&["copy", &dir, "bad"]).refused();
    assert!(p.w.image(["list", "--quiet", "bad"]).out().is_empty());
}

/// gpg with a keyring of the world's own.
struct Keyring<'a>(&'a World, PathBuf);

impl<'a> Keyring<'a> {
    fn new(w: &'a World) -> Self {
        let home = w.path("gpg");
        fs::create_dir(&home).unwrap();
        let private = fs::Permissions::from_mode(0o700);
        fs::set_permissions(&home, private).unwrap();
        let ring = Self(w, home);
        for name in ["alice", "bob"] {
            let words = ["--quick-gen-key", name, "ed25519", "sign"];
            ring.gpg("gpg").args(words).run().ok();
            let key = ring.gpg("gpg").args(["--armor", "--export", name]).run().ok().stdout;
            fs::write(w.path(format!("{name}.asc")), key).unwrap();
        }
        ring
    }

    fn gpg(&self, program: &str) -> Cmd {
        let gpg = self.0.cmd(program).env("GNUPGHOME", &self.1);
        let quiet = ["--batch", "--pinentry-mode", "loopback", "--passphrase", ""];
        if program == "gpg" { gpg.args(quiet) } else { gpg }
    }
}

impl Drop for Keyring<'_> {
    fn drop(&mut self) {
        self.gpg("gpgconf").args(["--kill", "all"]).run();
    }
}

#[test]
fn openpgp_signatures_are_made_and_verified_as_skopeo_does() {
    let p = Place::new("gpg");
    let ring = Keyring::new(&p.w);
    let ours = |words: &[&str]| {
        let before = ["--registries.d", "registries.d", "--policy", "policy.json"];
        p.w.image_cmd([&before, words].concat()).env("GNUPGHOME", &ring.1).run()
    };
    let theirs = |words: &[&str]| {
        let before = ["--registries.d", "registries.d", "--policy", "policy.json"];
        p.w.cmd("skopeo").args(before).args(words).env("GNUPGHOME", &ring.1).run()
    };
    let signed_by = |who: &str| {
        let file = p.path(&format!("{who}.asc"));
        p.policy(&json!({ "type": "signedBy", "keyType": "GPGKeys", "keyPath": file }));
    };
    let list = ring.gpg("gpg").args(["--with-colons", "--list-keys", "alice"]).run().ok();
    let key = list.lines().into_iter().find(|l| l.starts_with("fpr:")).unwrap();
    let key = key.split(':').nth(9).unwrap().to_owned();
    signed_by("alice");
    let (mine, yours) = (format!("{}:ours", p.repository), format!("{}:theirs", p.repository));
    let (to_mine, to_yours) = (format!("docker://{mine}"), format!("docker://{yours}"));
    ours(&["copy", "--sign-by", "alice", "busybox", &to_mine]).ok();
    p.image(&["pull", &mine]).ok();
    let dir = format!("dir:{}", p.path("d"));
    theirs(&["copy", "--src-tls-verify=false", &to_mine, &dir]).ok();
    let words = ["--insecure-policy", "copy", "--dest-tls-verify=false", "--remove-signatures"];
    theirs(&[&words[..], &["--sign-by", &key, &dir, &to_yours]].concat()).ok();
    p.image(&["pull", &yours]).ok();
    signed_by("bob");
    p.refused(&mine, "Invalid GPG signature: Missing key");
    signed_by("alice");
    let unsigned = format!("{}:unsigned", p.repository);
    p.w.image(["push", "busybox", &unsigned]).ok();
    // Quoted as in skopeo's log.
    p.refused(&unsigned, r#"Source image rejected: Signature for identity \""#);
    ours(&["copy", "--sign-by", "nobody", "busybox", &to_mine]).refused().err_has("nobody");
    // Without gpg what needs it fails, and says so.
    let nowhere = p.path("nothing");
    let before = ["--registries.d", "registries.d", "--policy", "policy.json", "pull", &mine];
    p.w.image_cmd(before).env("PATH", nowhere).run().refused().err_has("install gnupg");
    // In files.
    let manifest = p.path("d/manifest.json");
    let sign = ["standalone-sign", "-o", "s", &manifest, "x.example/y:1", "alice"];
    ours(&sign).ok();
    let verify = |key: &str, name: &str, more: &[&str]| {
        let words = ["standalone-verify", &manifest, name, key, "s"];
        (ours(&[&words[..], more].concat()), theirs(&[&words[..]].concat()))
    };
    let (done, said) = verify(&key, "x.example/y:1", &[]);
    // Debian's skopeo says the same in fewer words.
    assert!(said.ok().out().starts_with("Signature verified"));
    let digest = done.ok().out_has(&key).out();
    let digest = digest.rsplit(' ').next().unwrap();
    p.w.image(["manifest-digest", &manifest]).ok().out_is(digest);
    verify("any", "x.example/y:1", &["--public-key-file", "alice.asc"]).0.ok();
    verify("any", "x.example/y:1", &[]).0.refused().err_has("public key file");
    verify("any", "x.example/y:1", &["--public-key-file", "bob.asc"]).0.refused();
    verify(&key, "x.example/y:2", &[]).0.refused().err_has("does not match");
    verify(&"A".repeat(40), "x.example/y:1", &[]).0.refused().err_has("is not accepted");
    let dump = ours(&["untrusted-signature-dump-without-verification", "s"]).ok().json();
    assert_eq!(dump["UntrustedDockerReference"], "x.example/y:1");
    let id = dump["UntrustedShortKeyIdentifier"].as_str().unwrap();
    assert!(key.ends_with(id), "{key} {id}");
}

#[test]
fn a_key_of_ones_own_is_made_once_and_opens_with_its_passphrase() {
    let p = Place::new("key");
    p.policy(&json!({ "type": "insecureAcceptAnything" }));
    let again = ["generate-sigstore-key", "--output-prefix", "k", "--passphrase-file", "pw"];
    p.w.image(again).refused().err_has("Refusing to overwrite");

    let private = fs::metadata(p.w.path("k.private")).unwrap().permissions();
    assert_eq!(private.mode() & 0o777, 0o600);
    let to = format!("docker://{}:1", p.repository);
    fs::write(p.w.path("pw"), "foul wind\n").unwrap();
    p.sign("k", &to, &[]).refused().err_has("passphrase is wrong");
    let key = ["copy", "--sign-by-sigstore-private-key", "k.private", "busybox", &to];
    p.image(&key).refused().err_has("Cannot prompt for a passphrase");
    fs::write(p.w.path("pw"), "fair wind\n").unwrap();
    let parameters = "privateKeyFile: k.private\nprivateKeyPassphraseFile: pw\n";
    fs::write(p.w.path("sign.yaml"), parameters).unwrap();
    p.image(&["copy", "--sign-by-sigstore", "sign.yaml", "busybox", &to]).ok();
    fs::write(p.w.path("sign.yaml"), format!("{parameters}rekorURL: https://x\n")).unwrap();
    p.image(&["copy", "--sign-by-sigstore", "sign.yaml", "busybox", &to]).refused();
    // Signing where nothing can be kept.
    p.sign("k", &format!("oci:{}:x", p.path("l")), &[]).refused().err_has("keeps no signatures");
    p.sign("k", "name", &[]).refused().err_has("keeps no signatures");
    fs::remove_dir_all(p.w.path("registries.d")).unwrap();
    p.sign("k", &to, &[]).refused().err_has("use-sigstore-attachments");
}

#[test]
fn an_image_that_is_named_as_umoci_names_it_has_to_be_permitted_too() {
    let w = World::new();
    w.pull("busybox");
    let layout = w.path("l").display().to_string();
    w.image(["copy", "busybox", &format!("oci:{layout}:a")]).ok();
    fs::write(w.path("p.json"), r#"{"default":[{"type":"reject"}]}"#).unwrap();
    let image = format!("{layout}:a");
    for (verb, to) in
        [(&["unpack"][..], "b"), (&["raw", "unpack"], "r"), (&["raw", "runtime-config"], "c.json")]
    {
        let words = [&["--policy", "p.json"], verb, &["--image", &image, to]].concat();
        w.image(words).refused().err_has("rejected by policy");
        assert!(!w.path(to).exists(), "{to}");
    }
    w.image(["unpack", "--image", &image, "b"]).ok();
}
