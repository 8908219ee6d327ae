package guardedconn

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

var errDead = errors.New("the process is dead")

// library reads as rueidis does (resp.go and pipe.go), and returns errDead
// where rueidis would panic.
type library struct {
	r       *bufio.Reader
	caching bool
	depth   int
}

type message struct {
	kind   byte
	text   string
	values []message
}

// run reads one answer as the library does when it connects, and then what
// comes for the rest of the commands that were sent.
func (l *library) run(sent int) error {
	var first message
	for first.kind == 0 || first.kind == '>' {
		var err error
		if first, err = l.next(); err != nil {
			return err
		}
	}
	version := ""
	if (first.kind == '%' || first.kind == '*') && len(first.values)%2 == 0 {
		for i := 0; i < len(first.values); i += 2 {
			if first.values[i].text == "version" {
				version = first.values[i+1].text
			}
		}
	}
	major, _, _ := strings.Cut(version, ".")
	number, _ := strconv.ParseInt(major, 10, 32)
	for came := 1; ; {
		m, err := l.next()
		if err != nil {
			return err
		}
		if m.kind == '>' {
			if len(m.values) >= 2 && (m.values[0].text == "subscribe" || m.values[0].text == "psubscribe" || m.values[0].text == "ssubscribe") {
				return fmt.Errorf("%w: a subscription", errDead)
			}
			continue
		}
		if number == 6 && l.caching {
			for _, v := range m.values {
				if v.kind == '>' {
					if _, err := l.next(); err != nil {
						return err
					}
				}
			}
		}
		if came++; came > sent {
			return fmt.Errorf("%w: an answer too many", errDead)
		}
	}
}

func (l *library) next() (m message, err error) {
	if m.kind, err = l.r.ReadByte(); err != nil {
		return m, err
	}
	switch m.kind {
	case '+', '-', ',', '(':
		line, err := l.r.ReadBytes('\n')
		if len(line) < 2 {
			return m, io.ErrUnexpectedEOF
		}
		m.text = string(line[:len(line)-2])
		if m.kind == '-' && (strings.HasPrefix(m.text, "MOVED") || strings.HasPrefix(m.text, "ASK")) && len(strings.Split(m.text, " ")) < 3 && err == nil {
			return m, fmt.Errorf("%w: no address", errDead)
		}
		return m, err
	case '_':
		_, err = l.r.Discard(2)
	case '#':
		_, err = l.r.Discard(3)
	case ':':
		_, err = l.number()
	case '$', '=':
		n, err := l.number()
		if err != nil || n == -1 {
			m.kind = '_'
			return m, err
		}
		if n < 0 || n > maxBlob {
			return m, fmt.Errorf("%w: a string of %d bytes", errDead, n)
		}
		text := make([]byte, n)
		if _, err = io.ReadFull(l.r, text); err == nil {
			_, err = l.r.Discard(2)
		}
		m.text = string(text)
		return m, err
	case '*', '~', '>', '%':
		n, err := l.number()
		if err != nil || n == -1 {
			m.kind = '_'
			return m, err
		}
		if n < 0 || n > maxCount {
			return m, fmt.Errorf("%w: an aggregate of %d", errDead, n)
		}
		if m.kind == '%' {
			n *= 2
		}
		if l.depth++; l.depth > maxDepth && n > 0 {
			return m, fmt.Errorf("%w: too deep", errDead)
		}
		for range n {
			v, err := l.next()
			if err != nil {
				return m, err
			}
			m.values = append(m.values, v)
		}
		l.depth--
		return m, err
	default:
		return m, fmt.Errorf("%w: type %q", errDead, m.kind)
	}
	return m, err
}

func (l *library) number() (n int64, err error) {
	line, err := l.r.ReadBytes('\n')
	if err != nil {
		return 0, err
	}
	line = bytes.TrimSuffix(line, []byte("\r\n"))
	negative := len(line) > 0 && line[0] == '-'
	for _, c := range bytes.TrimPrefix(line, []byte("-")) {
		n = 10*n + int64(c-'0')
	}
	if negative {
		n = -n
	}
	return n, nil
}
