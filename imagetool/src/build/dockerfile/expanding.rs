//! Which parts of an instruction have variables in them.

use super::{Copy, Instruction};
use crate::build::expand::{self, Lookup};

impl Instruction {
    /// With its variables replaced, where the language has them. All of an instruction sees the
    /// values from before it.
    ///
    /// As they are: ARG, whose values may speak of the ARGs before them in the same line; the
    /// commands of RUN, CMD, ENTRYPOINT, HEALTHCHECK, which are a shell's; RUN's mounts
    /// ([`super::MountText::read`]); SHELL, ONBUILD, MAINTAINER.
    ///
    /// # Errors
    ///
    /// As [`expand::word`].
    pub fn expanded(&self, escape: char, get: Lookup) -> Result<Self, String> {
        let word = |text: &String| expand::word(text, escape, get);
        let list = |texts: &[String]| texts.iter().map(word).collect::<Result<Vec<_>, _>>();
        let pairs = |pairs: &[(String, String)]| {
            pairs.iter().map(|(k, v)| Ok((word(k)?, word(v)?))).collect::<Result<Vec<_>, String>>()
        };
        Ok(match self {
            Self::Env(given) => Self::Env(pairs(given)?),
            Self::Label(given) => Self::Label(pairs(given)?),
            Self::Copy(copy) => Self::Copy(Box::new(copied(copy, escape, get)?)),
            Self::Add(copy) => Self::Add(Box::new(copied(copy, escape, get)?)),
            Self::Workdir(path) => Self::Workdir(word(path)?),
            Self::User(user) => Self::User(word(user)?),
            Self::Stopsignal(signal) => Self::Stopsignal(word(signal)?),
            Self::Volume(paths) => {
                let paths = list(paths)?;
                if paths.iter().any(String::is_empty) {
                    return Err("VOLUME specified can not be an empty string".into());
                }
                Self::Volume(paths)
            }
            Self::Expose(ports) => {
                let ports = ports.iter().map(|port| expand::words(port, escape, get));
                Self::Expose(ports.collect::<Result<Vec<_>, _>>()?.concat())
            }
            Self::Arg(_)
            | Self::Run(_)
            | Self::Cmd(_)
            | Self::Entrypoint(_)
            | Self::Shell(_)
            | Self::Healthcheck(_)
            | Self::Onbuild(_)
            | Self::Maintainer(_) => self.clone(),
        })
    }
}

fn copied(copy: &Copy, escape: char, get: Lookup) -> Result<Copy, String> {
    let word = |text: &String| expand::word(text, escape, get);
    let maybe = |text: &Option<String>| {
        let text = text.as_ref().map(word).transpose()?;
        Ok::<_, String>(text.filter(|text| !text.is_empty()))
    };
    let mut new = copy.clone();
    new.chown = maybe(&copy.chown)?;
    new.chmod = maybe(&copy.chmod)?;
    new.checksum = maybe(&copy.checksum)?;
    new.sources = copy.sources.iter().map(word).collect::<Result<_, _>>()?;
    new.dest = word(&copy.dest)?;
    for doc in new.heredocs.iter_mut().filter(|doc| doc.expand) {
        doc.content = expand::keeping_quotes(&doc.content, get)?;
    }
    Ok(new)
}
