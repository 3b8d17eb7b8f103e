//! Parser of a step, which takes its sentence apart word by word.

use super::{StoryUser, USERS};
use crate::layout::SPARE;
use crate::world::net::HostId;

/// Remainder of a step that is still to be read.
pub(super) struct StepParser<'a> {
    rest: &'a str,
}

impl<'a> StepParser<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { rest: text.trim() }
    }

    /// Takes the next word; a comma is a word of its own.
    pub(super) fn any(&mut self) -> Result<&'a str, String> {
        let end = match self.rest.strip_prefix(',') {
            Some(_) => 1,
            None => self.rest.find([' ', ',']).unwrap_or(self.rest.len()),
        };
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest.trim_start();
        if word.is_empty() { Err("a word is missing".to_owned()) } else { Ok(word) }
    }

    /// Takes the next word if it is `word`. Returns `true` if it did.
    pub(super) fn is(&mut self, word: &str) -> bool {
        let before = self.rest;
        if self.any() == Ok(word) {
            return true;
        }
        self.rest = before;
        false
    }

    /// Takes exactly these words, with single spaces between them.
    pub(super) fn all(&mut self, words: &str) -> Result<(), String> {
        for word in words.split(' ') {
            if !self.is(word) {
                return Err(format!("expected {word:?} before {:?}", self.rest));
            }
        }
        Ok(())
    }

    pub(super) fn end(&self) -> Result<(), String> {
        if self.rest.is_empty() { Ok(()) } else { Err(format!("unexpected {:?} at the end", self.rest)) }
    }

    pub(super) fn pod(&mut self) -> Result<HostId, String> {
        let word = self.any()?;
        let number = word.strip_prefix("pod-").and_then(|number| number.parse().ok());
        number.filter(|pod| *pod <= SPARE).ok_or_else(|| format!("unknown pod {word:?}"))
    }

    /// Takes one or more pods, up to the end of the step.
    pub(super) fn pods(&mut self) -> Result<Vec<HostId>, String> {
        let mut pods = vec![self.pod()?];
        while !self.rest.is_empty() {
            pods.push(self.pod()?);
        }
        Ok(pods)
    }

    pub(super) fn user(&mut self) -> Result<StoryUser, String> {
        let word = self.any()?;
        let known = USERS.into_iter().find(|user| *user == word);
        known.ok_or_else(|| format!("{word:?} is neither a user nor an action"))
    }

    /// Takes one or more users, up to the end of the step.
    pub(super) fn users(&mut self) -> Result<Vec<StoryUser>, String> {
        let mut users = vec![self.user()?];
        while !self.rest.is_empty() {
            users.push(self.user()?);
        }
        Ok(users)
    }

    /// Takes a room and a pod: `general at pod-1`.
    pub(super) fn place(&mut self) -> Result<(String, HostId), String> {
        let room = self.any()?.to_owned();
        self.all("at")?;
        Ok((room, self.pod()?))
    }

    /// Takes a text in quotes: `"hello, bob"`.
    pub(super) fn quoted(&mut self) -> Result<String, String> {
        let inner = self.rest.strip_prefix('"').and_then(|rest| rest.split_once('"'));
        let (text, rest) = inner.ok_or_else(|| format!("expected quoted text at {:?}", self.rest))?;
        self.rest = rest.trim_start();
        Ok(text.to_owned())
    }

    /// Takes `, and the story goes on` if it comes next. Returns `true` if it did.
    pub(super) fn goes_on(&mut self) -> Result<bool, String> {
        let on = self.is(",");
        if on {
            self.all("and the story goes on")?;
        }
        Ok(on)
    }

    /// Takes a time in milliseconds: `500 ms`.
    pub(super) fn milliseconds(&mut self) -> Result<u64, String> {
        let number = self.any()?;
        self.with_unit(number)
    }

    pub(super) fn with_unit(&mut self, number: &str) -> Result<u64, String> {
        let milliseconds = parse_number(number)?;
        self.all("ms")?;
        Ok(milliseconds)
    }

    pub(super) fn number(&mut self) -> Result<u64, String> {
        parse_number(self.any()?)
    }
}

fn parse_number(number: &str) -> Result<u64, String> {
    number.parse().map_err(|_| format!("{number:?} is not a number"))
}
