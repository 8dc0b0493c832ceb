//! The slots of a Cluster: in which one a key lies, and who serves it by a node's own words.
//!
//! CRC16/XMODEM of the hash tag: <https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/>.

use redis::Value;

use super::address::Address;

/// The slot of a key: of what is between its first `{` and the next `}`, if that is anything.
pub(super) fn slot(name: &[u8]) -> u16 {
    let tag = name
        .iter()
        .position(|byte| *byte == b'{')
        .map(|open| &name[open + 1..])
        .and_then(|rest| rest.iter().position(|byte| *byte == b'}').map(|close| &rest[..close]))
        .filter(|tag| !tag.is_empty());
    crc16(tag.unwrap_or(name)) % SLOTS as u16
}

/// CRC16/XMODEM: polynomial 0x1021, from 0.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| crc << 8 ^ CRC16[usize::from((crc >> 8) as u8 ^ byte)])
}

/// Neighbouring slots and the node that serves them.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct SlotRange {
    pub(super) first: u16,
    pub(super) last: u16,
    pub(super) master: Address,
}

/// The ranges in the answer to `CLUSTER SLOTS` of the node at `asked`; at least one, all within bounds.
pub(super) fn parse_slots(answer: &Value, asked: &Address) -> Result<Vec<SlotRange>, String> {
    let Value::Array(ranges) = answer else {
        return Err(format!("{asked} answered CLUSTER SLOTS with no list"));
    };
    let parsed: Option<Vec<SlotRange>> = ranges.iter().map(|range| parse_range(range, asked)).collect();
    match parsed {
        None => Err(format!("{asked} answered CLUSTER SLOTS with something that is no range of slots")),
        Some(ranges) if ranges.is_empty() => {
            Err(format!("{asked} knows of no slots: it is not in a Cluster yet"))
        }
        Some(ranges) => Ok(ranges),
    }
}

fn parse_range(range: &Value, asked: &Address) -> Option<SlotRange> {
    let Value::Array(range) = range else { return None };
    let [Value::Int(first), Value::Int(last), Value::Array(master), ..] = range.as_slice() else {
        return None;
    };
    let [host, Value::Int(port), ..] = master.as_slice() else { return None };
    let host = match (host, asked) {
        (Value::BulkString(host), _) if !host.is_empty() => String::from_utf8(host.clone()).ok()?,
        // A node that does not know its own name is where we asked it.
        (_, Address::Tcp { host, .. }) => host.clone(),
        _ => return None,
    };
    let (first, last) = (u16::try_from(*first).ok()?, u16::try_from(*last).ok()?);
    let is_range = first <= last && usize::from(last) < SLOTS;
    let port = u16::try_from(*port).ok().filter(|port| *port > 0)?;
    is_range.then(|| SlotRange { first, last, master: Address::tcp(host, port) })
}

/// Slots of a Cluster.
pub(super) const SLOTS: usize = 16_384;

const CRC16: [u16; 256] = {
    let mut table = [0; 256];
    let mut index = 0;
    while index < 256 {
        let mut crc = (index as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000 == 0 { crc << 1 } else { crc << 1 ^ 0x1021 };
            bit += 1;
        }
        table[index] = crc;
        index += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_of_the_specification() {
        // The check value of CRC16/XMODEM, and examples of the Cluster specification.
        assert_eq!(crc16(b"123456789"), 0x31C3);
        assert_eq!(slot(b"foo"), 12_182);
        assert_eq!(slot(b"{user1000}.following"), slot(b"{user1000}.followers"));
        assert_eq!(slot(b"foo{}{bar}"), crc16(b"foo{}{bar}") % 16_384);
        assert_eq!(slot(b"foo{{bar}}zap"), crc16(b"{bar") % 16_384);
        assert_eq!(slot(b"foo{bar}{zap}"), slot(b"bar"));
        assert_eq!(slot(b""), 0);
    }

    fn range(first: i64, last: i64, host: Value, port: i64) -> Value {
        Value::Array(vec![Value::Int(first), Value::Int(last), Value::Array(vec![host, Value::Int(port)])])
    }

    #[test]
    fn maps_are_read_and_nonsense_is_refused() {
        let asked = Address::tcp("here", 7000);
        let host = |host: &str| Value::BulkString(host.into());
        let read = |ranges: Vec<Value>| parse_slots(&Value::Array(ranges), &asked);
        let good = vec![range(0, 5_460, host("a"), 7001), range(5_461, 16_383, host(""), 7000)];
        let ranges = read(good).unwrap();
        assert_eq!(ranges[0], SlotRange { first: 0, last: 5_460, master: Address::tcp("a", 7001) });
        assert_eq!(ranges[1].master, asked);
        for bad in [
            range(0, 16_384, host("a"), 7001),
            range(-1, 3, host("a"), 7001),
            range(4, 3, host("a"), 7001),
            range(0, 3, host("a"), 0),
            range(0, 3, host("a"), 65_536),
            Value::Int(3),
            Value::Array(vec![Value::Int(1)]),
        ] {
            assert!(read(vec![bad.clone()]).is_err(), "{bad:?}");
        }
        assert!(read(vec![]).unwrap_err().contains("not in a Cluster yet"));
        assert!(parse_slots(&Value::Nil, &asked).is_err());
    }
}
