//! The plan as text: what `dhow-runtime plan` shows is what init performs.

use std::fmt;

use super::{Phase, Plan};
use crate::validate::mount::{Ids, Kind};

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for phase in &self.phases {
            writeln!(f, "{}", phase.name())?;
            self.details(*phase, f)?;
        }
        Ok(())
    }
}

impl Plan {
    fn details(&self, phase: Phase, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match phase {
            Phase::Namespaces => {
                writeln!(f, "  clone {:#x} relay {}", self.spaces.clone, self.spaces.relay)?;
                for (flag, path) in &self.spaces.join {
                    writeln!(f, "  join {flag:#x} {}", path.to_string_lossy())?;
                }
            }
            Phase::Root => writeln!(f, "  {}", self.rootfs.to_string_lossy())?,
            Phase::Mounts => {
                for m in &self.mounts {
                    let what = match &m.kind {
                        Kind::Bind { source, recursive } => {
                            let word = if *recursive { "rbind" } else { "bind" };
                            format!("{word} {}", source.to_string_lossy())
                        }
                        Kind::New { fstype, .. } => format!("new {}", fstype.to_string_lossy()),
                        Kind::Remount { .. } => "remount".to_owned(),
                        Kind::Cgroup => "cgroup".to_owned(),
                    };
                    let (a, r) = (m.attributes.set, m.recursive.set);
                    let ids = match m.ids {
                        Ids::Same => "",
                        Ids::Mapped { recursive: false, .. } => " idmap",
                        Ids::Mapped { recursive: true, .. } => " ridmap",
                    };
                    let target = m.target.to_string_lossy();
                    writeln!(f, "  {what} on /{target} set {a:#x} below {r:#x}{ids}")?;
                }
            }
            Phase::Devices => {
                for d in &self.devices {
                    writeln!(f, "  /{} {}:{}", d.path.to_string_lossy(), d.major, d.minor)?;
                }
                for (at, to) in &self.links {
                    writeln!(f, "  /{} -> {}", at.to_string_lossy(), to.to_string_lossy())?;
                }
            }
            Phase::Mask => {
                for p in &self.masked_paths {
                    writeln!(f, "  mask /{}", p.to_string_lossy())?;
                }
                for p in &self.readonly_paths {
                    writeln!(f, "  readonly /{}", p.to_string_lossy())?;
                }
            }
            Phase::Seccomp => {
                let n = self.filter.as_ref().map_or(0, |filter| filter.program.len());
                writeln!(f, "  {n} instructions")?;
            }
            Phase::Credentials => {
                let p = &self.process;
                writeln!(f, "  uid {} gid {} groups {:?}", p.uid, p.gid, p.groups)?;
                writeln!(f, "  bounding {:#x}", p.capabilities.bounding)?;
            }
            Phase::Exec => {
                for arg in &self.process.args {
                    writeln!(f, "  {}", arg.to_string_lossy())?;
                }
            }
            _ => {}
        }
        Ok(())
    }
}
