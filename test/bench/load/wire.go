package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"
)

// wire is a connection of a client that does as little as one can: what the
// load itself takes from the machine, the sites that are measured do not get.
type wire struct {
	conn   net.Conn
	reader *bufio.Reader
}

func dial(address string) (*wire, error) {
	conn, err := net.DialTimeout("tcp", address, 5*time.Second)
	if err != nil {
		return nil, err
	}
	return &wire{conn, bufio.NewReaderSize(conn, 8<<10)}, nil
}

func hangUp(wires []*wire) {
	for _, w := range wires {
		_ = w.conn.Close()
	}
}

var lengthField = []byte("Content-Length: ") // as Go and Caddy write it

// do sends a request and reads its answer, which has to have the status.
func (w *wire) do(request []byte, status int) error {
	if err := w.conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		return err
	}
	if _, err := w.conn.Write(request); err != nil {
		return err
	}
	line, err := w.reader.ReadSlice('\n')
	if err != nil {
		return err
	}
	if len(line) < 12 {
		return fmt.Errorf("the answer begins with %q", line)
	}
	if got, err := strconv.Atoi(string(line[9:12])); err != nil || got != status {
		return fmt.Errorf("answered with %q instead of %d", bytes.TrimSpace(line), status)
	}
	length := -1
	for {
		if line, err = w.reader.ReadSlice('\n'); err != nil {
			return err
		}
		if len(line) <= 2 {
			break
		}
		if digits, ok := bytes.CutPrefix(line, lengthField); ok {
			if length, err = strconv.Atoi(string(bytes.TrimSpace(digits))); err != nil {
				return err
			}
		}
	}
	if length < 0 {
		return errors.New("the answer has no Content-Length")
	}
	_, err = w.reader.Discard(length)
	return err
}
