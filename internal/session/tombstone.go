package session

import "time"

// EndedBy says who ended a session from outside. Its values are stored.
type EndedBy byte

// EndedByOperator is the only reason for which a session is ended by somebody
// else than its visitor.
const EndedByOperator EndedBy = 1

// Tombstone returns the record that takes the place of a session which is ended
// from outside, and when it expires: when the session's own record would have. It
// keeps the session's header and nothing of its body, so that a refresh that is
// under way cannot bring the session back and the visitor can be told. It is not
// sealed, since only the visitor has the key: whoever can write into a store could
// as well delete the record.
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

// readTombstone returns who ended the session whose tombstone the record is.
func readTombstone(record []byte) (EndedBy, bool) {
	_, rest, err := splitRecord(record, kindTombstone)
	if err != nil || len(rest) != 1 || EndedBy(rest[0]) != EndedByOperator {
		return 0, false
	}
	return EndedBy(rest[0]), true
}
