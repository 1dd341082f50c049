//! A search for a line in what is printed bit by bit: fed with output, it tells of the first line that matches.

use memchr::memmem::Finder;
use memchr::{memchr, memrchr};
use regex::bytes::Regex;
use sandbox_protocol::cursor::Position;
use sandbox_protocol::error::ErrorBody;
use sandbox_protocol::kept::Kind;
use sandbox_protocol::log::Stream;
use sandbox_protocol::ready::{Met, Needle, Pattern};
use sandbox_protocol::request::invalid;

use crate::logs::{Batch, Ledger};

/// A longer line is taken as several, so that a program without line ends costs no more memory than this.
const MAX_LINE_BYTES: usize = 64 << 10;

/// A line that matches.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Hit {
    line: String,
    groups: Option<Vec<Option<String>>>,
    stream: Stream,
    /// After the output in which it was found.
    after: Position,
}

impl Hit {
    pub(super) fn met(self, ledger: &Ledger) -> Met {
        Met::Log {
            line: self.line,
            groups: self.groups,
            stream: self.stream,
            cursor: ledger.cursor(self.after).to_string(),
        }
    }
}

/// A search, and how far it is.
#[derive(Debug)]
pub(super) struct Search {
    needle: Compiled,
    stdout: Unended,
    stderr: Unended,
}

#[derive(Debug)]
enum Compiled {
    Text(Box<Finder<'static>>),
    Regex(Regex),
}

/// A line of one stream that has no end yet.
#[derive(Debug, Default)]
struct Unended {
    line: Vec<u8>,
    after: Position,
}

impl Search {
    pub(super) fn new(pattern: &Pattern, field: &str) -> Result<Self, ErrorBody> {
        let needle = match &pattern.needle {
            Needle::Text(text) => Compiled::Text(Box::new(Finder::new(text).into_owned())),
            Needle::Regex(regex) => Compiled::Regex(Regex::new(regex).map_err(|error| {
                // The library draws a picture of the place; its last line says what is wrong.
                let text = error.to_string();
                let rule = text.lines().last().unwrap_or_default();
                invalid(field, rule.strip_prefix("error: ").unwrap_or(rule))
            })?),
        };
        Ok(Self {
            needle,
            stdout: Unended::default(),
            stderr: Unended::default(),
        })
    }

    /// Reads on; the first line that has its end and matches.
    pub(super) fn read(&mut self, batch: &Batch) -> Option<Hit> {
        for entry in batch.entries() {
            let Kind::Output(stream) = entry.kind else {
                continue;
            };
            if let Some((line, groups)) = self.feed(stream, entry.bytes) {
                return Some(Hit {
                    line,
                    groups,
                    stream,
                    after: entry.after,
                });
            }
            self.unended_of(stream).after = entry.after;
        }
        None
    }

    /// The line without an end that matches, if there is one.
    pub(super) fn unended(&self) -> Option<Hit> {
        let streams = [
            (Stream::Stdout, &self.stdout),
            (Stream::Stderr, &self.stderr),
        ];
        streams.into_iter().find_map(|(stream, unended)| {
            let (line, groups) = self.needle.line(&unended.line)?;
            Some(Hit {
                line,
                groups,
                stream,
                after: unended.after,
            })
        })
    }

    /// Lines do not go on over a gap.
    pub(super) fn forget(&mut self) {
        self.stdout.line.clear();
        self.stderr.line.clear();
    }

    fn unended_of(&mut self, stream: Stream) -> &mut Unended {
        match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        }
    }

    fn feed(&mut self, stream: Stream, mut bytes: &[u8]) -> Option<Found> {
        let unended = match stream {
            Stream::Stdout => &mut self.stdout.line,
            Stream::Stderr => &mut self.stderr.line,
        };
        if !unended.is_empty()
            && let Some(end) = memchr(b'\n', bytes)
        {
            unended.extend_from_slice(&bytes[..end]);
            bytes = &bytes[end + 1..];
            let found = self.needle.line(unended);
            unended.clear();
            if found.is_some() {
                return found;
            }
        }
        if let Some(end) = memrchr(b'\n', bytes) {
            let found = self.needle.lines(&bytes[..=end]);
            if found.is_some() {
                return found;
            }
            bytes = &bytes[end + 1..];
        }
        for piece in bytes.chunks(MAX_LINE_BYTES) {
            if unended.len() + piece.len() > MAX_LINE_BYTES {
                let found = self.needle.line(unended);
                if found.is_some() {
                    return found;
                }
                unended.clear();
            }
            unended.extend_from_slice(piece);
        }
        None
    }
}

/// A line, and the match with its groups for an expression.
type Found = (String, Option<Vec<Option<String>>>);

impl Compiled {
    /// Looks at whole lines.
    fn lines(&self, lines: &[u8]) -> Option<Found> {
        match self {
            // The text has no line end in it, so it is looked for in all lines at once.
            Self::Text(finder) => {
                let at = finder.find(lines)?;
                let begin = memrchr(b'\n', &lines[..at]).map_or(0, |end| end + 1);
                let end = memchr(b'\n', &lines[at..]).map_or(lines.len(), |end| at + end);
                self.line(&lines[begin..end])
            }
            Self::Regex(_) => lines
                .split(|byte| *byte == b'\n')
                .find_map(|line| self.line(line)),
        }
    }

    /// Looks at one line, without its end.
    fn line(&self, line: &[u8]) -> Option<Found> {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        match self {
            Self::Text(finder) => finder.find(line).map(|_| (text(line), None)),
            Self::Regex(regex) => {
                let captures = regex.captures(line)?;
                let groups = captures.iter();
                let groups = groups.map(|group| group.map(|group| text(group.as_bytes())));
                Some((text(line), Some(groups.collect())))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use sandbox_protocol::log::{Selection, Stream};
    use sandbox_protocol::ready::{Needle, Pattern};

    use super::{MAX_LINE_BYTES, Search};

    fn pattern(needle: Needle) -> Pattern {
        Pattern {
            needle,
            stream: Selection::Both,
        }
    }

    fn text(text: &str) -> Search {
        Search::new(&pattern(Needle::Text(text.into())), "log").unwrap()
    }

    fn regex(regex: &str) -> Search {
        Search::new(&pattern(Needle::Regex(regex.into())), "regex").unwrap()
    }

    fn feed(search: &mut Search, pieces: &[&str]) -> Option<String> {
        let mut feed = pieces
            .iter()
            .filter_map(|piece| search.feed(Stream::Stdout, piece.as_bytes()));
        feed.next().map(|(line, _)| line)
    }

    #[test]
    fn a_line_is_found_over_the_borders_of_what_was_read() {
        let pieces = ["a\nServer lis", "tening", " on 80\r\nb"];
        let line = Some("Server listening on 80".to_owned());
        assert_eq!(feed(&mut text("listening"), &pieces), line);
        assert_eq!(feed(&mut regex(r"^Server .* \d+$"), &pieces), line);
        assert_eq!(feed(&mut text("80b"), &pieces), None);
    }

    #[test]
    fn streams_do_not_complete_each_other() {
        let mut search = text("ready");
        assert_eq!(search.feed(Stream::Stdout, b"rea"), None);
        assert_eq!(search.feed(Stream::Stderr, b"dy\n"), None);
        assert!(search.feed(Stream::Stdout, b"dy\n").is_some());
    }

    #[test]
    fn a_line_without_an_end_counts() {
        let mut search = regex("login: $");
        assert_eq!(search.feed(Stream::Stderr, b"\nlogin: "), None);
        let hit = search.unended().unwrap();
        assert_eq!((hit.line.as_str(), hit.stream), ("login: ", Stream::Stderr));
    }

    #[test]
    fn groups_are_told_and_those_that_took_no_part_are_null() {
        let mut search = regex(r"port (\d+)(s)?");
        let (_, groups) = search.feed(Stream::Stdout, b"on port 8080\n").unwrap();
        let expected = [Some("port 8080".into()), Some("8080".into()), None];
        assert_eq!(groups.as_deref(), Some(&expected[..]));
    }

    #[test]
    fn a_line_that_never_ends_is_taken_in_pieces() {
        let mut search = text("needle");
        let hay = vec![b'x'; MAX_LINE_BYTES];
        for _ in 0..100 {
            assert_eq!(search.feed(Stream::Stdout, &hay), None);
        }
        assert!(search.stdout.line.len() <= MAX_LINE_BYTES);
        assert_eq!(search.feed(Stream::Stdout, b" needle"), None);
        assert!(search.unended().is_some());
    }

    #[test]
    fn an_expression_that_is_none_is_refused_by_the_name_of_its_field() {
        let error = Search::new(&pattern(Needle::Regex("(".into())), "until.regex")
            .map(drop)
            .unwrap_err();
        assert_eq!(error.context.field.as_deref(), Some("until.regex"));
        assert_eq!(error.error, "until.regex: unclosed group");
    }

    proptest! {
        #[test]
        fn it_does_not_matter_how_the_text_is_cut(
            text in "[ab\n]{0,200}",
            needle in "[ab]{1,4}",
            cuts in prop::collection::vec(0_usize..200, 0..8),
        ) {
            let expected = text.split('\n').find(|line| line.contains(&needle));
            let mut cuts: Vec<usize> = cuts.into_iter().filter(|cut| *cut < text.len()).collect();
            cuts.sort_unstable();
            for mut search in [super::tests::text(&needle), regex(&needle)] {
                let (mut found, mut last) = (None, 0);
                for cut in cuts.iter().copied().chain([text.len()]) {
                    let piece = &text.as_bytes()[last..cut];
                    found = found.or_else(|| search.feed(Stream::Stdout, piece));
                    last = cut;
                }
                let found = found.map(|(line, _)| line);
                let found = found.or_else(|| search.unended().map(|hit| hit.line));
                prop_assert_eq!(found.as_deref(), expected);
            }
        }
    }
}
