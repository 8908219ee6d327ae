package guardedconn

import (
	"errors"
	"strings"
)

// These bound every answer: to the store's commands, to HELLO, to CLUSTER SLOTS
// and SHARDS, and of Sentinels. The largest string of the store is a record of
// 64 KiB.
const (
	maxBlob  = 1 << 20
	maxCount = 64 << 10
	maxLine  = 64 << 10
	maxDepth = 8
	// maxMessage bounds the memory that rueidis allocates for one message: its
	// strings, and messageSize for each element that it announces. The slots of a
	// cluster need at most 14 MB.
	maxMessage  = 16 << 20
	messageSize = 40
)

var (
	errFraming  = errors.New("not an answer of Redis")
	errTooLarge = errors.New("an answer larger than any that the store needs from Redis")
)

// framing parses the messages of one direction of a connection, in versions 2
// and 3 of RESP (https://redis.io/docs/latest/develop/reference/protocol-spec/).
// The bytes may come in pieces of any size. It refuses streamed types,
// attributes and blob errors, since Redis sends none.
type framing struct {
	rules  rules
	state  state
	kind   byte // of the current header
	depth  int
	open   [maxDepth]aggregate // the unfinished aggregates, the outermost first
	budget int                 // what is left of maxMessage

	number   int // in the header, without its sign
	digits   int
	negative bool
	cr       bool // the last byte was '\r'
	spaces   int
	left     int // bytes to come of a string and the line break after it

	length int      // of the last string or line
	text   [12]byte // the beginning of the last string or line
}

// rules are the checks of messages that go beyond their form.
type rules interface {
	// begins is called at the first byte of each message, and of each push
	// message inside another.
	begins(f *framing) error
	// element is called at the last byte of each element of an outermost
	// aggregate.
	element(f *framing, index int) error
	// ends is called at the last byte of each message.
	ends()
}

type aggregate struct {
	kind        byte
	left, total int
}

type state uint8

const (
	inType state = iota // a message's or element's first byte is next
	inLine
	inBlob
)

// word returns the beginning of the last string or line.
func (f *framing) word() string { return string(f.text[:min(f.length, len(f.text))]) }

// follow parses the next bytes of the connection. It returns how many of them may
// be passed on: all of them, or those before the byte that it refuses.
func (f *framing) follow(b []byte) (int, error) {
	for i := 0; i < len(b); {
		var err error
		switch f.state {
		case inType:
			err = f.header(b[i])
			i++
		case inLine:
			err = f.line(b[i])
			i++
		case inBlob:
			n := min(f.left, len(b)-i)
			if at := f.length + 2 - f.left; at < len(f.text) {
				copy(f.text[at:], b[i:i+n])
			}
			i += n
			if f.left -= n; f.left == 0 {
				err = f.complete()
			}
		}
		if err != nil {
			return i - 1, err
		}
	}
	return len(b), nil
}

func (f *framing) header(kind byte) error {
	if f.depth == 0 {
		f.budget = maxMessage
	}
	f.kind, f.state = kind, inLine
	f.number, f.digits, f.negative, f.cr, f.spaces, f.length = 0, 0, false, false, 0, 0
	switch kind {
	case '+', '-', ':', '$', '*', '_', '#', ',', '(', '=', '%', '~', '>':
	default:
		return errFraming
	}
	if f.depth == 0 || kind == '>' {
		return f.rules.begins(f)
	}
	return nil
}

// line parses the next byte of a header. It is strict after '_' and '#', where
// rueidis skips bytes without reading them.
func (f *framing) line(c byte) error {
	if f.kind == '+' || f.kind == '-' || f.kind == ',' || f.kind == '(' {
		return f.textLine(c)
	}
	switch {
	case f.cr && c == '\n':
		return f.headerEnds()
	case f.cr:
		return errFraming
	case c == '\r':
		f.cr = true
		if f.digits == 0 && f.kind != '_' {
			return errFraming
		}
	case f.kind == '#' && (c == 't' || c == 'f') && f.digits == 0:
		f.digits++
	case f.kind == '_' || f.kind == '#':
		return errFraming
	case c == '-' && f.digits == 0 && !f.negative:
		f.negative = true
	case c < '0' || c > '9':
		return errFraming
	default:
		f.digits++
		return f.digit(int(c - '0'))
	}
	return nil
}

func (f *framing) digit(digit int) error {
	switch f.kind {
	case ':':
		if f.digits > len("18446744073709551615") {
			return errFraming
		}
		return nil
	case '$', '=':
		if f.number = 10*f.number + digit; f.number > maxBlob {
			return errTooLarge
		}
	default:
		if f.number = 10*f.number + digit; f.number > maxCount {
			return errTooLarge
		}
	}
	// leading zeros would make a header endless
	if f.digits > len("1048576") {
		return errFraming
	}
	return nil
}

func (f *framing) textLine(c byte) error {
	if c == '\n' {
		if f.length--; f.length < 0 || !f.cr {
			return errFraming
		}
		return f.headerEnds()
	}
	if f.length < len(f.text) {
		f.text[f.length] = c
	}
	f.cr = c == '\r'
	if c == ' ' {
		f.spaces++
	}
	if f.length++; f.length > maxLine {
		return errTooLarge
	}
	return nil
}

func (f *framing) headerEnds() error {
	size := f.number
	switch f.kind {
	default:
		f.budget -= f.length
		return f.complete()
	case '$', '=':
		if f.negative {
			return f.null()
		}
		f.length, f.left, f.state = size, size+2, inBlob
		f.budget -= size
	case '*', '~', '>', '%':
		if f.negative {
			return f.null()
		}
		if f.kind == '%' {
			size *= 2
		}
		if f.budget -= size * messageSize; size == 0 {
			return f.complete()
		}
		if f.depth == maxDepth {
			return errTooLarge
		}
		f.open[f.depth] = aggregate{kind: f.kind, left: size, total: size}
		f.depth++
		f.state = inType
	}
	if f.budget < 0 {
		return errTooLarge
	}
	return nil
}

// null ends version 2's null, which is a string or an array of length -1.
func (f *framing) null() error {
	if f.number != 1 || (f.kind != '$' && f.kind != '*') {
		return errFraming
	}
	return f.complete()
}

// complete ends an element or message, and the aggregates that end with it.
func (f *framing) complete() error {
	if f.budget < 0 {
		return errTooLarge
	}
	// rueidis panics if one of these errors has fewer than three words
	if word := f.word(); f.kind == '-' && f.spaces < 2 && (strings.HasPrefix(word, "MOVED") || strings.HasPrefix(word, "ASK")) {
		return errFraming
	}
	f.state = inType
	for f.depth > 0 {
		top := &f.open[f.depth-1]
		if f.depth == 1 {
			if err := f.rules.element(f, top.total-top.left); err != nil {
				return err
			}
		}
		if top.left--; top.left > 0 {
			return nil
		}
		f.depth--
		f.length = 0 // an aggregate has no text
	}
	f.rules.ends()
	return nil
}
