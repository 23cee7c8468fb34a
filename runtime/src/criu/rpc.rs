//! criu's messages, those of its `rpc.proto` that are needed here, under the numbers they have there.

use super::wire::{Malformed, Writer, read};

/// `criu_req_type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "criu's own words")]
pub enum Kind {
    Empty = 0,
    Dump = 1,
    Restore = 2,
    PreDump = 4,
    Notify = 6,
    FeatureCheck = 9,
    Version = 10,
}

impl Kind {
    const ALL: [Self; 7] = [
        Self::Empty,
        Self::Dump,
        Self::Restore,
        Self::PreDump,
        Self::Notify,
        Self::FeatureCheck,
        Self::Version,
    ];

    fn from_number(number: i32) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as i32 == number)
    }

    /// What it is for, in a message.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Empty => "request",
            Self::Dump => "dump",
            Self::Restore => "restore",
            Self::PreDump => "pre-dump",
            Self::Notify => "notification",
            Self::FeatureCheck => "feature check",
            Self::Version => "version check",
        }
    }
}

/// `criu_cg_mode`: what becomes of control groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(missing_docs, reason = "criu's own words")]
pub enum CgroupMode {
    Ignore = 0,
    Soft = 3,
    Full = 4,
    Strict = 5,
    #[default]
    Default = 6,
}

/// `criu_network_lock_method`: how packets are kept away meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "criu's own words")]
pub enum NetworkLock {
    Iptables = 1,
    Nftables = 2,
    Skip = 3,
}

/// `criu_features`: asked for, or there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Features {
    /// The kernel knows which pages were written to.
    pub mem_track: bool,
    /// Pages may come after the restore.
    pub lazy_pages: bool,
}

/// A pair of texts: an external mount, or a namespace and its file.
pub type Pair = (String, String);

/// `criu_opts`. What is `None`, empty or false by default is left out.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[allow(missing_docs, reason = "criu's own words")]
#[allow(clippy::struct_excessive_bools, reason = "criu's own options")]
pub struct Options {
    pub images_dir_fd: i32,
    pub work_dir_fd: Option<i32>,
    pub pid: Option<i32>,
    pub leave_running: bool,
    pub ext_unix_sk: bool,
    pub tcp_established: bool,
    pub tcp_skip_in_flight: bool,
    pub tcp_close: bool,
    pub evasive_devices: bool,
    pub shell_job: bool,
    pub file_locks: bool,
    pub log_level: i32,
    pub log_file: String,
    pub page_server: Option<(String, u16)>,
    pub root: String,
    pub parent_img: Option<String>,
    pub track_mem: bool,
    pub auto_dedup: bool,
    pub link_remap: bool,
    /// Key and value: on dump the mount point and its name, on restore the name and the source.
    pub ext_mnt: Vec<Pair>,
    pub cgroup_mode: CgroupMode,
    /// Controller and path.
    pub cg_root: Vec<Pair>,
    pub rst_sibling: bool,
    pub inherit_fd: Vec<(String, i32)>,
    pub external: Vec<String>,
    pub empty_ns: u32,
    pub join_ns: Vec<Pair>,
    pub freeze_cgroup: Option<String>,
    pub lazy_pages: bool,
    pub config_file: Option<String>,
    pub lsm_profile: Option<String>,
    pub lsm_mount_context: Option<String>,
    pub network_lock: Option<NetworkLock>,
}

impl Options {
    fn write(&self, w: &mut Writer) {
        w.int(1, self.images_dir_fd);
        self.write_truths(w);
        w.int(9, self.log_level);
        w.text(10, &self.log_file);
        w.text(13, &self.root);
        for (field, value) in [(2, self.pid), (17, self.work_dir_fd)] {
            if let Some(value) = value {
                w.int(field, value);
            }
        }
        for (field, value) in [
            (14, &self.parent_img),
            (44, &self.freeze_cgroup),
            (51, &self.config_file),
            (53, &self.lsm_profile),
            (63, &self.lsm_mount_context),
        ] {
            if let Some(value) = value {
                w.text(field, value);
            }
        }
        if let Some((address, port)) = &self.page_server {
            w.message(11, |w| {
                w.text(1, address);
                w.int(2, i32::from(*port));
            });
        }
        for (field, pairs) in [(23, &self.ext_mnt), (25, &self.cg_root), (39, &self.join_ns)] {
            for (first, second) in pairs {
                w.message(field, |w| {
                    w.text(1, first);
                    w.text(2, second);
                });
            }
        }
        for (key, fd) in &self.inherit_fd {
            w.message(27, |w| {
                w.text(1, key);
                w.int(2, *fd);
            });
        }
        for text in &self.external {
            w.text(37, text);
        }
        w.number(34, self.cgroup_mode as u64);
        w.number(38, self.empty_ns.into());
        if let Some(lock) = self.network_lock {
            w.number(64, lock as u64);
        }
    }

    fn write_truths(&self, w: &mut Writer) {
        for (field, value) in [
            (3, self.leave_running),
            (4, self.ext_unix_sk),
            (5, self.tcp_established),
            (6, self.evasive_devices),
            (7, self.shell_job),
            (8, self.file_locks),
            // We are to be told what happens.
            (12, true),
            (15, self.track_mem),
            (16, self.auto_dedup),
            (18, self.link_remap),
            // Old ones know this and not cgroup_mode.
            (24, true),
            (26, self.rst_sibling),
            (46, self.tcp_skip_in_flight),
            (48, self.lazy_pages),
            // A terminal whose master is ours: it is sent, or made anew.
            (50, true),
            (52, self.tcp_close),
        ] {
            w.truth(field, value);
        }
    }
}

/// `criu_req`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Dump, pre-dump or restore.
    Perform(Kind, Box<Options>),
    /// Which of these are there?
    Features(Features),
    /// Which version are you?
    Version,
    /// What we were told is dealt with, or failed.
    Notified(bool),
}

impl Request {
    /// What answers it.
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Perform(kind, _) => *kind,
            Self::Features(_) => Kind::FeatureCheck,
            Self::Version => Kind::Version,
            Self::Notified(_) => Kind::Notify,
        }
    }

    /// As bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::default();
        w.number(1, self.kind() as u64);
        match self {
            Self::Perform(_, options) => w.message(2, |w| options.write(w)),
            Self::Features(wanted) => w.message(5, |w| {
                w.truth(1, wanted.mem_track);
                w.truth(2, wanted.lazy_pages);
            }),
            Self::Notified(success) => w.truth(3, *success),
            Self::Version => {}
        }
        w.finish()
    }
}

/// `criu_notify`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Notify {
    /// What happens, as `post-dump`.
    pub script: String,
    /// The container's first process, in our numbers; 0 when it isn't said.
    pub pid: i32,
}

/// `criu_resp`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Response {
    /// What it answers; `None` for a kind that isn't known here.
    pub kind: Option<Kind>,
    /// Whether it went well.
    pub success: bool,
    /// The restored process.
    pub pid: i32,
    /// What happens.
    pub notify: Notify,
    /// Why it didn't.
    pub errno: i32,
    /// The first error, in criu's words.
    pub error: String,
    /// What is there.
    pub features: Features,
    /// As 40201 for 4.2.1.
    pub version: i32,
}

impl Response {
    /// From bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut out = Self::default();
        let mut seen = (false, false);
        read(bytes, |field, value| {
            match field {
                1 => {
                    seen.0 = true;
                    out.kind = Kind::from_number(value.int()?);
                }
                2 => {
                    seen.1 = true;
                    out.success = value.truth()?;
                }
                4 => read(value.message()?, |field, value| {
                    if field == 1 {
                        out.pid = value.int()?;
                    }
                    Ok(())
                })?,
                5 => out.notify = notify(value.message()?)?,
                7 => out.errno = value.int()?,
                8 => out.features = features(value.message()?)?,
                9 => out.error = value.text()?,
                10 => out.version = version(value.message()?)?,
                _ => {}
            }
            Ok(())
        })?;
        // SPEC: rpc.proto: both are required.
        if seen == (true, true) { Ok(out) } else { Err(Malformed) }
    }
}

fn notify(bytes: &[u8]) -> Result<Notify, Malformed> {
    let mut out = Notify::default();
    read(bytes, |field, value| {
        match field {
            1 => out.script = value.text()?,
            2 => out.pid = value.int()?,
            _ => {}
        }
        Ok(())
    })?;
    Ok(out)
}

fn features(bytes: &[u8]) -> Result<Features, Malformed> {
    let mut out = Features::default();
    read(bytes, |field, value| {
        match field {
            1 => out.mem_track = value.truth()?,
            2 => out.lazy_pages = value.truth()?,
            _ => {}
        }
        Ok(())
    })?;
    Ok(out)
}

/// Major × 10000 + minor × 100 + sublevel; a development version counts as the next minor one.
fn version(bytes: &[u8]) -> Result<i32, Malformed> {
    let (mut major, mut minor, mut sublevel, mut git) = (0i32, 0i32, 0i32, false);
    read(bytes, |field, value| {
        match field {
            1 => major = value.int()?,
            2 => minor = value.int()?,
            3 => git = true,
            4 => sublevel = value.int()?,
            _ => {}
        }
        Ok(())
    })?;
    let known = |n: i32| (0..100).contains(&n);
    if !(known(major) && known(minor) && known(sublevel)) {
        return Err(Malformed);
    }
    let plain = major * 10_000 + minor * 100;
    Ok(if git { plain + 100 } else { plain + sublevel })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_version_is_asked_for_in_two_bytes() {
        assert_eq!(Request::Version.encode(), [0x08, 0x0a]);
        assert_eq!(Request::Notified(true).encode(), [0x08, 0x06, 0x18, 0x01]);
        let features = Features { mem_track: true, lazy_pages: false };
        assert_eq!(Request::Features(features).encode(), b"\x08\x09\x2a\x04\x08\x01\x10\x00");
    }

    #[test]
    fn options_go_out_under_criu_s_numbers() {
        let options = Options {
            images_dir_fd: 5,
            pid: Some(300),
            root: "/r".into(),
            ext_mnt: vec![("/a".into(), "/b".into())],
            inherit_fd: vec![("pipe:[1]".into(), 1)],
            page_server: Some(("::1".into(), 65535)),
            cgroup_mode: CgroupMode::Ignore,
            ..Options::default()
        };
        let bytes = Request::Perform(Kind::Dump, Box::new(options)).encode();
        let has = |part: &[u8]| bytes.windows(part.len()).any(|window| window == part);
        assert!(has(b"\x08\x05"), "images_dir_fd");
        assert!(has(b"\x10\xac\x02"), "pid");
        assert!(has(b"\x6a\x02/r"), "root");
        assert!(has(b"\xba\x01\x08\x0a\x02/a\x12\x02/b"), "ext_mnt");
        assert!(has(b"\xda\x01\x0c\x0a\x08pipe:[1]\x10\x01"), "inherit_fd");
        assert!(has(b"\x5a\x09\x0a\x03::1\x10\xff\xff\x03"), "ps");
        assert!(has(b"\x90\x02\x00"), "manage_cgroups_mode");
        assert!(has(b"\x90\x03\x01"), "orphan_pts_master");
    }

    #[test]
    fn answers_as_criu_4_2_gives_them() {
        let r = Response::decode(b"\x08\x0a\x10\x01\x52\x06\x08\x04\x10\x02\x20\x01").unwrap();
        assert_eq!((r.kind, r.success, r.version), (Some(Kind::Version), true, 40201));
        let r = Response::decode(b"\x08\x06\x10\x01\x2a\x10\x0a\x0cpost-restore\x10\x2a").unwrap();
        assert_eq!(r.notify, Notify { script: "post-restore".into(), pid: 42 });
        let r = Response::decode(b"\x08\x02\x10\x00\x38\x11\x4a\x02no").unwrap();
        assert_eq!((r.success, r.errno, r.error.as_str()), (false, 17, "no"));
    }

    #[test]
    fn a_development_version_is_newer_than_its_number() {
        assert_eq!(version(b"\x08\x03\x10\x0f\x1a\x01g"), Ok(31600));
        assert_eq!(version(b"\x08\x80\x01"), Err(Malformed));
    }

    #[test]
    fn an_answer_without_its_kind_is_malformed() {
        assert_eq!(Response::decode(b"\x10\x01"), Err(Malformed));
        assert_eq!(Response::decode(b""), Err(Malformed));
    }

    proptest! {
        #[test]
        fn no_bytes_make_decoding_panic(bytes in proptest::collection::vec(any::<u8>(), 0..96)) {
            let _ = Response::decode(&bytes);
        }
    }
}
