//! Reads server-sent events (WHATWG HTML §9.2.6) as their bytes come.

/// A server-sent event.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ServerSent {
    pub name: String,
    pub data: String,
}

/// What has come of a stream.
#[derive(Default)]
pub struct EventReader {
    /// The line that is coming in.
    line: Vec<u8>,
    /// The last byte was a carriage return: a line feed after it ends no further line.
    was_return: bool,
    name: String,
    data: Vec<String>,
    /// Bytes of `data`.
    bytes: usize,
}

/// The stream is not one of a router.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("an event of more than {MOST} bytes")]
pub struct TooLarge;

/// Bytes of one event: a body of a mebibyte, with every byte escaped.
const MOST: usize = 8 << 20;

impl EventReader {
    /// Reads what has come: the events that it completes.
    ///
    /// # Errors
    /// [`TooLarge`]
    pub fn read(&mut self, bytes: &[u8]) -> Result<Vec<ServerSent>, TooLarge> {
        let mut events = Vec::new();
        let mut rest = bytes;
        while !rest.is_empty() {
            if std::mem::take(&mut self.was_return) && rest[0] == b'\n' {
                rest = &rest[1..];
                continue;
            }
            let end = rest.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
            let (part, after) = rest.split_at(end.unwrap_or(rest.len()));
            if self.line.len() + self.bytes + part.len() > MOST {
                return Err(TooLarge);
            }
            self.line.extend_from_slice(part);
            if let Some((ending, after)) = after.split_first() {
                self.was_return = *ending == b'\r';
                events.extend(self.end_line());
                rest = after;
            } else {
                rest = after;
            }
        }
        Ok(events)
    }

    /// An empty line ends an event; others are its fields.
    fn end_line(&mut self) -> Option<ServerSent> {
        let line = std::mem::take(&mut self.line);
        if line.is_empty() {
            let (name, data) = (std::mem::take(&mut self.name), std::mem::take(&mut self.data));
            self.bytes = 0;
            return (!data.is_empty()).then(|| ServerSent { name, data: data.join("\n") });
        }
        let line = String::from_utf8_lossy(&line);
        let (field, value) = line.split_once(':').unwrap_or((&line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.name),
            "data" => {
                self.bytes += value.len();
                self.data.push(value.to_owned());
            }
            // Comments have no name; ids and waits are of no use here.
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn event(name: &str, data: &str) -> ServerSent {
        ServerSent { name: name.to_owned(), data: data.to_owned() }
    }

    #[test]
    fn fields_comments_and_line_ends_are_read_as_the_standard_says() {
        let cases = [
            ("event: a\ndata: {}\n\n", vec![event("a", "{}")]),
            (": a comment\nretry: 3000\n\n", vec![]),
            ("data\n\ndata:x\n\n", vec![event("", ""), event("", "x")]),
            (
                "event:a\rdata: 1\rdata:  2\r\revent: b\r\ndata: 3\r\n\r\n",
                vec![event("a", "1\n 2"), event("b", "3")],
            ),
            ("event: a\n\ndata: 1\n\n", vec![event("", "1")]),
            ("event: a\ndata: 1\n", vec![]),
        ];
        for (text, events) in cases {
            assert_eq!(EventReader::default().read(text.as_bytes()), Ok(events), "{text:?}");
        }
        let endless = vec![b'x'; MOST + 1];
        assert_eq!(EventReader::default().read(&endless), Err(TooLarge));
    }

    proptest! {
        #[test]
        fn it_does_not_matter_how_the_bytes_come(text in "(event: a|data: b|:|\r|\n|\r\n){0,20}", at in 0usize..200) {
            let whole = EventReader::default().read(text.as_bytes());
            let at = at.min(text.len());
            let mut parts = EventReader::default();
            let mut events = parts.read(&text.as_bytes()[..at]).expect("short");
            events.extend(parts.read(&text.as_bytes()[at..]).expect("short"));
            prop_assert_eq!(Ok(events), whole);
        }
    }
}
