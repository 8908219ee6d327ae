package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

// redisClient asks a Redis server about itself.
type redisClient struct {
	conn   net.Conn
	reader *bufio.Reader
}

func dialRedis(address string) (*redisClient, error) {
	conn, err := net.DialTimeout("tcp", address, 5*time.Second)
	if err != nil {
		return nil, err
	}
	return &redisClient{conn, bufio.NewReader(conn)}, nil
}

func (c *redisClient) close() { _ = c.conn.Close() }

// do sends a command whose answer is one string or one number.
func (c *redisClient) do(arguments ...string) (string, error) {
	if err := c.conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		return "", err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "*%d\r\n", len(arguments))
	for _, argument := range arguments {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(argument), argument)
	}
	if _, err := io.WriteString(c.conn, b.String()); err != nil {
		return "", err
	}
	line, err := c.reader.ReadString('\n')
	if err != nil {
		return "", err
	}
	kind, rest := line[0], strings.TrimSuffix(line[1:], "\r\n")
	switch kind {
	case '+', ':':
		return rest, nil
	case '$':
		length, err := strconv.Atoi(rest)
		if err != nil || length < 0 {
			return "", fmt.Errorf("redis answered %s with %q", arguments[0], line)
		}
		text := make([]byte, length+len("\r\n"))
		_, err = io.ReadFull(c.reader, text)
		return string(text[:length]), err
	default:
		return "", fmt.Errorf("redis answered %s with %q", arguments[0], line)
	}
}

// info returns a section of what the server says about itself.
func (c *redisClient) info(section string) (map[string]string, error) {
	text, err := c.do("INFO", section)
	if err != nil {
		return nil, err
	}
	fields := make(map[string]string)
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			fields[name] = value
		}
	}
	return fields, nil
}

// number is a command whose answer is a number.
func (c *redisClient) number(arguments ...string) (int64, error) {
	text, err := c.do(arguments...)
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(text, 10, 64)
}
