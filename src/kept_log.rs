//! A build's log after its container: read from the object's records, in every form and with the same
//! cursors. The one place where output passes through wasm, a piece of at most 4 MiB at a time.

use sandbox_protocol::cursor::{Cursor, Position};
use sandbox_protocol::error::{ErrorBody, ErrorCode};
use sandbox_protocol::kept::{Entry, Kind, next_entry};
use sandbox_protocol::log::{From, LogRequest, Selection, Stream};

use crate::error::{Result, internal};
use crate::log_page::Page;
use crate::platform::{Refused, Sink, gunzip};
use crate::records::{BuildRow, Records};

/// How much is written to the client at once, in bytes.
const WRITE_BYTES: usize = 128 << 10;

/// A build's kept log.
pub(crate) struct KeptLog<'a> {
    records: &'a Records,
    build: &'a str,
    pieces: Vec<Piece>,
}

struct Piece {
    number: i64,
    from: Cursor,
    to: Cursor,
}

/// Why a log could not be written to its end.
pub(crate) enum Broken {
    /// The client is gone.
    Refused,
    /// Our side failed.
    Failed(ErrorBody),
}

impl std::convert::From<Refused> for Broken {
    fn from(Refused: Refused) -> Self {
        Self::Refused
    }
}

impl std::convert::From<ErrorBody> for Broken {
    fn from(error: ErrorBody) -> Self {
        Self::Failed(error)
    }
}

impl<'a> KeptLog<'a> {
    /// Opens the kept log of a build; it may be empty.
    pub(crate) fn open(records: &'a Records, row: &'a BuildRow) -> Result<Self> {
        let build = row.record.id.as_str();
        let cursor = |text: &str| {
            Cursor::parse(text).ok_or_else(|| internal("a kept piece has no cursor", text))
        };
        let pieces = records.pieces(build)?.into_iter().map(|head| {
            Ok(Piece {
                number: head.piece,
                from: cursor(&head.from_cursor)?,
                to: cursor(&head.to_cursor)?,
            })
        });
        Ok(Self {
            records,
            build,
            pieces: pieces.collect::<Result<_>>()?,
        })
    }

    /// The position where `request` begins; refuses a cursor of another log.
    pub(crate) async fn begin(&self, request: &LogRequest) -> Result<Position> {
        match &request.from {
            From::Start => Ok(Position::START),
            From::After(cursor) => {
                let stale = self.pieces.first().is_some_and(|first| {
                    (&first.from.boot, first.from.incarnation) != (&cursor.boot, cursor.incarnation)
                });
                if stale {
                    return Err(ErrorBody::new(
                        ErrorCode::StaleCursor,
                        "the cursor belongs to another log",
                    ));
                }
                Ok(cursor.position)
            }
            From::Tail(0) => Ok(self.end()),
            From::Tail(lines) => self.tail(*lines, request.stream).await,
        }
    }

    /// Where the newest that is kept ends.
    fn end(&self) -> Position {
        let last = self.pieces.last();
        last.map_or(Position::START, |piece| piece.to.position)
    }

    /// Where the last `lines` lines of the selected streams begin.
    async fn tail(&self, lines: u64, selected: Selection) -> Result<Position> {
        let mut wanted = lines;
        let mut unended = true;
        for piece in self.pieces.iter().rev() {
            let unpacked = self.unpack(piece).await?;
            let mut entries = Vec::new();
            let mut position = piece.from.position;
            let mut rest = unpacked.as_slice();
            while let Some(entry) = next_entry(&mut rest) {
                entries.push((position, entry));
                position = position.after(entry.kind, entry.bytes.len() as u64);
            }
            for (start, entry) in entries.into_iter().rev() {
                let Kind::Output(stream) = entry.kind else {
                    continue;
                };
                if !selected.has(stream) {
                    continue;
                }
                for (index, _) in entry
                    .bytes
                    .iter()
                    .enumerate()
                    .rev()
                    .filter(|(_, byte)| **byte == b'\n')
                {
                    // The break that ends the last line begins no other.
                    let last = std::mem::take(&mut unended) && index + 1 == entry.bytes.len();
                    if last {
                        continue;
                    }
                    if wanted <= 1 {
                        return Ok(start.after(entry.kind, index as u64 + 1));
                    }
                    wanted -= 1;
                }
                unended = false;
            }
        }
        Ok(Position::START)
    }

    /// Writes the log from `position` on, in the form of `request`, but for JSON.
    pub(crate) async fn write(
        &self,
        request: &LogRequest,
        mut position: Position,
        sink: &Sink,
    ) -> Result<(), Broken> {
        for piece in &self.pieces {
            if piece.to.position <= position {
                continue;
            }
            let mut page = Page::new(self.build, request, &piece.from);
            if piece.from.position > position {
                page.gap(position, piece.from.position);
            }
            let unpacked = self.unpack(piece).await?;
            let mut at = piece.from.position;
            let mut rest = unpacked.as_slice();
            while let Some(entry) = next_entry(&mut rest) {
                let end = at.after(entry.kind, entry.bytes.len() as u64);
                if end > position {
                    page.entry(&after(entry, at, position), end);
                }
                at = end;
                if page.out.len() >= WRITE_BYTES {
                    sink.write(&std::mem::take(&mut page.out)).await?;
                }
            }
            position = position.max(at);
            if !page.out.is_empty() {
                sink.write(&page.out).await?;
            }
        }
        Ok(())
    }

    /// Writes the log from `position` on as one JSON object, a piece at a time: once for each stream.
    pub(crate) async fn write_json(
        &self,
        request: &LogRequest,
        position: Position,
        end: &Cursor,
        sink: &Sink,
    ) -> Result<(), Broken> {
        sink.write(format!(r#"{{"processId":"{}""#, self.build).as_bytes())
            .await?;
        for (name, stream) in [("stdout", Stream::Stdout), ("stderr", Stream::Stderr)] {
            sink.write(format!(r#","{name}":""#).as_bytes()).await?;
            if request.stream.has(stream) {
                self.write_json_stream(position, stream, sink).await?;
            }
            sink.write(b"\"").await?;
        }
        let first = self
            .pieces
            .first()
            .map_or(position, |piece| piece.from.position);
        let truncated = position.bytes_until(first, request.stream) > 0;
        let tail = format!(r#","cursor":"{end}","truncated":{truncated}}}"#);
        sink.write(tail.as_bytes()).await?;
        Ok(())
    }

    async fn write_json_stream(
        &self,
        position: Position,
        stream: Stream,
        sink: &Sink,
    ) -> Result<(), Broken> {
        for piece in self
            .pieces
            .iter()
            .filter(|piece| piece.to.position > position)
        {
            let unpacked = self.unpack(piece).await?;
            let mut at = piece.from.position;
            let mut rest = unpacked.as_slice();
            let mut out = String::new();
            while let Some(entry) = next_entry(&mut rest) {
                let end = at.after(entry.kind, entry.bytes.len() as u64);
                if end > position && entry.kind == Kind::Output(stream) {
                    // The capture holds an incomplete character back, so an entry is text by itself.
                    let text =
                        String::from_utf8_lossy(after(entry, at, position).bytes).into_owned();
                    let quoted = serde_json::to_string(&text)
                        .map_err(|error| internal("a log could not be written", error))?;
                    out.push_str(&quoted[1..quoted.len() - 1]);
                }
                at = end;
            }
            if !out.is_empty() {
                sink.write(out.as_bytes()).await?;
            }
        }
        Ok(())
    }

    async fn unpack(&self, piece: &Piece) -> Result<Vec<u8>> {
        // Dropped meanwhile: told as a gap by the next one's start.
        let Some(packed) = self.records.piece(self.build, piece.number)? else {
            return Ok(Vec::new());
        };
        let unpacked = gunzip(&packed).await;
        unpacked.map_err(|error| internal("a kept piece could not be read", error))
    }
}

/// The part of `entry`, which begins at `at`, that lies after `position`.
fn after(mut entry: Entry<'_>, at: Position, position: Position) -> Entry<'_> {
    let skip = position.sequence().saturating_sub(at.sequence());
    if let Kind::Output(_) = entry.kind {
        let skip = usize::try_from(skip)
            .unwrap_or(usize::MAX)
            .min(entry.bytes.len());
        entry.bytes = &entry.bytes[skip..];
    }
    entry
}
