package session

import "time"

// EndedBy says who, other than its visitor, ended a session. Its values are stored.
type EndedBy byte

// EndedByOperator says that an operator ended the session. There is no other value yet.
const EndedByOperator EndedBy = 1

// Tombstone returns the record that replaces the record of a session that is ended by
// somebody other than its visitor. It expires when the session's record would have. While
// it exists, a refresh in progress cannot bring the session back, and the visitor can be
// told. It has the session's header but not its body. It is not sealed, because only the
// visitor has the key; whoever can write a tombstone to the store could just as well
// delete the record.
func Tombstone(record []byte, by EndedBy) (tombstone []byte, expires time.Time, err error) {
	start, _, err := splitRecord(record, kindSession)
	if err != nil {
		return nil, time.Time{}, err
	}
	h, ok := readHeader(start[4:])
	if !ok {
		return nil, time.Time{}, errBadRecord
	}
	return append(h.append([]byte{recordVersion, kindTombstone}), byte(by)), h.expires, nil
}

// readTombstone returns who ended the session if the record is a tombstone.
func readTombstone(record []byte) (EndedBy, bool) {
	_, rest, err := splitRecord(record, kindTombstone)
	if err != nil || len(rest) != 1 || EndedBy(rest[0]) != EndedByOperator {
		return 0, false
	}
	return EndedBy(rest[0]), true
}
