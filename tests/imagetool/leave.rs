//! Images out of podman's store and out of a docker daemon, so that people can leave.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use e2e::{World, fixtures};
use serde_json::json;

use super::refused::{nothing_visible, one_line};

/// Puts a fixture into a store of podman's, by the library that podman itself uses; the store as
/// places name it, and its directory.
fn stored(w: &World, driver: &str, image: &str, name: &str) -> (String, PathBuf) {
    let root = w.path(format!("storage-{driver}"));
    let store = format!("[{driver}@{}+{}]", root.display(), w.path("storage-run").display());
    let from = format!("oci:{}:{image}", fixtures::layout().display());
    let to = format!("containers-storage:{store}{name}");
    // It mounts its own directory on itself, and leaves it so.
    let copy = ["-m", "skopeo", "--insecure-policy", "copy", "-q"];
    w.cmd("unshare").args(copy).args([&from, &to]).run().ok();
    (store, root)
}

/// The files of a `dir:` image, but for those that a tool writes its own way.
fn blobs(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let file =
        |e: fs::DirEntry| (e.file_name().into_string().unwrap(), fs::read(e.path()).unwrap());
    let mut all: Vec<_> = fs::read_dir(dir).unwrap().map(|e| file(e.unwrap())).collect();
    all.retain(|(name, _)| name != "manifest.json" && name != "version");
    all.sort();
    all
}

#[test]
fn podmans_store_gives_every_layer_bit_for_bit() {
    let w = World::new();
    for (driver, image) in [("overlay", "busybox"), ("vfs", "layers")] {
        let (store, root) = stored(&w, driver, image, "example.org/left:1");
        let (ours, theirs) = (w.path(format!("ours-{driver}")), w.path(format!("theirs-{driver}")));
        let from = format!("containers-storage:{store}example.org/left:1");
        w.image(["copy", "-q", &from, &format!("dir:{}", ours.display())]).ok();
        let copy = ["-m", "skopeo", "--insecure-policy", "copy", "-q", from.as_str()];
        w.cmd("unshare").args(copy).arg(format!("dir:{}", theirs.display())).run().ok();
        assert_eq!(blobs(&ours), blobs(&theirs), "{driver}");
        // The driver may be left out, and an id be given; into the store it is the same image.
        let name = format!("left/{driver}:1");
        let images = fs::read(root.join(format!("{driver}-images/images.json"))).unwrap();
        let images: serde_json::Value = serde_json::from_slice(&images).unwrap();
        let id = images[0]["id"].as_str().unwrap();
        let by_id = format!("containers-storage:[{}]{}", root.display(), &id[..12]);
        w.image(["copy", &by_id, &name]).ok();
        assert_eq!(w.image(["inspect", &name]).ok().json()["id"], format!("sha256:{id}"));
    }
}

#[test]
fn podmans_store_is_inspected_as_it_was_filled() {
    let w = World::new();
    stored(&w, "overlay", "busybox", "example.org/first:1");
    let (store, _) = stored(&w, "overlay", "busybox", "example.org/second:1");
    for name in ["first", "second"] {
        let place = format!("containers-storage:{store}example.org/{name}:1");
        let ours = w.image(["inspect", &place]).ok().json();
        let theirs = w.cmd("unshare").args(["-m", "skopeo", "inspect", &place]).run().ok().json();
        for key in ["Name", "Digest", "Layers"] {
            assert_eq!(ours[key], theirs[key], "{key}");
        }
        let raw = w.image(["inspect", "--raw", &place]).ok().out();
        let theirs = w.cmd("unshare").args(["-m", "skopeo", "inspect", "--raw", &place]);
        assert_eq!(raw, theirs.run().ok().out());
    }
}

#[test]
fn podmans_store_has_scopes_in_a_policy() {
    let w = World::new();
    let (store, root) = stored(&w, "vfs", "busybox", "example.org/left:1");
    let from = format!("containers-storage:{store}example.org/left:1");
    let policy = w.path("policy.json");
    let root = root.display();
    for scope in [format!("[{root}]"), format!("[vfs@{root}]example.org/left")] {
        let scopes = json!({scope: [{"type": "reject"}]});
        let all = json!({"default": [{"type": "insecureAcceptAnything"}],
                         "transports": {"containers-storage": scopes}});
        fs::write(&policy, all.to_string()).unwrap();
        let words = ["--policy", policy.to_str().unwrap(), "copy", "-q", &from, "left:1"];
        one_line(w.image(words), &["rejected"]);
        assert_eq!(w.image(["list", "-q"]).ok().out(), "");
    }
}

#[test]
fn podmans_store_that_was_changed_is_found_out() {
    let w = World::new();
    let (store, root) = stored(&w, "overlay", "busybox", "example.org/left:1");
    let from = format!("containers-storage:{store}example.org/left:1");
    let find =
        format!("find {}/overlay -path '*/diff/*' -type f -size +0 | head -1", root.display());
    let file = PathBuf::from(w.cmd("sh").args(["-c", &find]).run().ok().out().trim());
    let whole = fs::read(&file).unwrap();
    let mut other = whole.clone();
    other[0] ^= 1;
    fs::write(&file, other).unwrap();
    one_line(w.image(["copy", &from, "left:1"]), &["corrupt"]);
    fs::write(&file, &whole[1..]).unwrap();
    one_line(w.image(["copy", &from, "left:1"]), &["somebody changed it"]);
    fs::remove_file(&file).unwrap();
    w.cmd("mkfifo").arg(&file).run().ok();
    one_line(w.image(["copy", &from, "left:1"]), &["somebody changed it"]);
    nothing_visible(&w);
    w.image(["copy", &format!("containers-storage:{store}nobody"), "left:1"]).code(2);
    let nowhere = w.image(["copy", "containers-storage:[/nowhere]x", "left:1"]);
    one_line(nowhere.code(2), &["/nowhere", "x does not resolve to an image ID"]);
    one_line(w.image(["copy", "dir:/nowhere", "left:1"]).code(1), &["/nowhere"]);
    one_line(w.image(["copy", "oci:/nowhere:x", "left:1"]).code(1), &["/nowhere"]);
}

/// A docker daemon that has one image, and takes others; what it is asked and given.
fn daemon(socket: &Path, archive: Vec<u8>) -> Receiver<(String, Vec<u8>)> {
    let listener = UnixListener::bind(socket).unwrap();
    let (tell, told) = channel();
    let serve = move || {
        for stream in listener.incoming() {
            let (line, body) = answer(stream.unwrap(), &archive);
            if tell.send((line, body)).is_err() {
                return;
            }
        }
    };
    // Of a name of its own: the last case waits for all threads that bear a case's.
    thread::Builder::new().name("daemon".to_owned()).spawn(serve).unwrap();
    told
}

fn answer(mut stream: UnixStream, archive: &[u8]) -> (String, Vec<u8>) {
    let mut asked = Vec::new();
    let mut byte = [0];
    while !asked.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap() == 1 {
        asked.push(byte[0]);
    }
    let line = String::from_utf8_lossy(&asked).lines().next().unwrap_or_default().to_owned();
    let mut given = Vec::new();
    if line.starts_with("POST /images/load") {
        let mut piece = vec![0; 1 << 16];
        while !given.ends_with(b"\r\n0\r\n\r\n") {
            let n = stream.read(&mut piece).unwrap();
            given.extend_from_slice(&piece[..n]);
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n{}\n").unwrap();
    } else if line.starts_with("GET /images/left:1/get ") {
        stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").unwrap();
        for piece in archive.chunks(100_000) {
            write!(stream, "{:x}\r\n", piece.len()).unwrap();
            stream.write_all(piece).unwrap();
            stream.write_all(b"\r\n").unwrap();
        }
        // Who has seen the archive's end may be gone.
        let _ = stream.write_all(b"0\r\n\r\n");
    } else {
        let body = r#"{"message":"No such image"}"#;
        let length = body.len();
        write!(stream, "HTTP/1.1 404 Not Found\r\nContent-Length: {length}\r\n\r\n{body}").unwrap();
    }
    (line, given)
}

#[test]
fn a_docker_daemons_images_come_and_go() {
    let w = World::new();
    let archive = fs::read(fixtures::archives().join("busybox.tar")).unwrap();
    let socket = w.path("docker.sock");
    let told = daemon(&socket, archive.clone());
    let host = format!("unix://{}", socket.display());
    let image = |args: &[&str]| w.image_cmd(args).env("DOCKER_HOST", &host).run();
    image(&["copy", "docker-daemon:left:1", "left:1"]).ok();
    assert_eq!(told.recv().unwrap().0, "GET /images/left:1/get HTTP/1.1");
    // The same image as by way of a file.
    let file = fixtures::archives().join("busybox.tar");
    w.image(["load", "-i", file.to_str().unwrap()]).ok();
    let id = |name: &str| w.image(["inspect", name]).ok().json()["id"].clone();
    assert_eq!(id("left:1"), id("busybox"));
    one_line(image(&["copy", "docker-daemon:nobody:1", "x:1"]), &["nobody:1", &host]);
    image(&["copy", "docker-daemon:nobody:1", "x:1"]).code(2);
    told.iter().take(2).for_each(drop);
    image(&["copy", "left:1", "docker-daemon:back:2"]).ok();
    let (line, given) = told.recv().unwrap();
    assert!(line.starts_with("POST /images/load"), "{line}");
    assert!(given.windows(8).any(|w| w == b"\"back:2\""), "the name is in the archive");
    let nobody = ["copy", "docker-daemon:left:1", "x:1"];
    let done = w.image_cmd(nobody).env("DOCKER_HOST", "unix:///nonexistent/docker.sock").run();
    one_line(done, &["cannot reach the docker daemon", "DOCKER_HOST"]);
}
