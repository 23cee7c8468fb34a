//! An image in a registry.

use std::io::{self, Read};
use std::sync::OnceLock;

use super::{Document, Source};
use crate::digest::{Digest, Verified};
use crate::error::{Error, Result};
use crate::manifest::Descriptor;
use crate::reference::Reference;
use crate::registry::{BlobReader, Client, Settings, first_of, may_differ};
use crate::trust::{Signature, stores};

/// One image of a registry, or of the mirrors that have it.
pub struct Remote {
    places: Vec<Client>,
    /// The one that had the image, and is asked first for what belongs to it.
    chosen: OnceLock<usize>,
    reference: Reference,
    settings: Settings,
}

impl Remote {
    /// Nothing is sent yet.
    pub fn new(settings: &Settings, reference: &Reference) -> Result<Self> {
        let reference = reference.clone().tagged();
        let places = Client::sources(settings, &reference)?;
        Ok(Self { places, chosen: OnceLock::new(), reference, settings: settings.clone() })
    }

    /// Asks whoever had the image, then those behind it: what has a digest is the same everywhere.
    fn ask<'a, T>(&'a self, ask: impl Fn(&'a Client) -> Result<T>) -> Result<T> {
        let first = self.chosen.get().copied().unwrap_or(0);
        first_of(&self.places[first..], ask).map(|(_, got)| got)
    }
}

impl Source for Remote {
    fn root(&self) -> Result<Document> {
        let (n, (bytes, at)) = first_of(&self.places, |c| c.manifest(&self.reference))?;
        let _ = self.chosen.set(n);
        Ok(Document { bytes, at })
    }

    fn document(&self, at: &Descriptor) -> Result<Document> {
        let reference = self.reference.with_digest(&at.digest);
        let (bytes, got) = self.ask(|c| c.manifest(&reference))?;
        if got.size != at.size {
            let what = format!("manifest {}", at.digest);
            return Err(Error::Size { what, want: at.size, got: got.size });
        }
        let at = Descriptor::new(&at.media_type, got.digest, got.size);
        Ok(Document { bytes, at })
    }

    fn blob<'a>(&'a self, blob: &'a Descriptor) -> Result<Box<dyn Read + Send + 'a>> {
        let first = self.chosen.get().copied().unwrap_or(0);
        let places = &self.places[first..];
        let (n, from) = first_of(places, |c| c.blob(blob, 0))?;
        let (place, rest) = (&places[n], &places[n + 1..]);
        let reader = Onward { place, rest, blob, at: 0, from, notice: self.settings.notice };
        let what = format!("blob {}", blob.digest);
        Ok(Box::new(Verified::new(reader, &blob.digest, blob.size, what)))
    }

    fn size(&self, blob: &Digest) -> Result<u64> {
        self.ask(|c| c.blob_size(blob))
    }

    fn signatures(&self, of: &Digest) -> Result<Vec<Signature>> {
        let Some(place) = self.places.get(self.chosen.get().copied().unwrap_or(0)) else {
            return Ok(Vec::new());
        };
        stores::fetch(place, &self.settings, &self.reference, of)
    }

    fn names(&self) -> Vec<Reference> {
        self.reference.tag().map(|_| self.reference.clone()).into_iter().collect()
    }
}

/// A blob that is gone on with at the next place where one breaks off for good.
struct Onward<'a> {
    place: &'a Client,
    /// Those that come after it.
    rest: &'a [Client],
    blob: &'a Descriptor,
    at: u64,
    from: BlobReader<'a>,
    notice: Option<fn(&str)>,
}

impl Onward<'_> {
    fn next(&mut self, error: Error) -> Result<()> {
        if self.rest.is_empty() || !may_differ(&error) {
            return Err(error);
        }
        let place = self.place.place();
        if let Some(tell) = self.notice {
            tell(&format!("mirror {place}: {error}; asking the next place"));
        }
        let (rest, blob, at) = (self.rest, self.blob, self.at);
        let next = first_of(rest, |c| c.blob(blob, at));
        let (n, from) = next.map_err(|e| e.noting(&format!("{place}: {error}")))?;
        (self.place, self.rest, self.from) = (&rest[n], &rest[n + 1..], from);
        Ok(())
    }
}

impl Read for Onward<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.from.read(buf) {
                Ok(n) => {
                    self.at += n as u64;
                    return Ok(n);
                }
                Err(e) => {
                    let error = Error::from_io("read", format!("blob {}", self.blob.digest), e);
                    self.next(error).map_err(Error::into_io)?;
                }
            }
        }
    }
}
