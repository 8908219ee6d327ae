package redisstore

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"time"

	"github.com/redis/rueidis"
	"go.uber.org/zap"

	truelayer "github.com/caddy-truelayer/caddy-truelayer"
)

// replaceScript is a compare-and-swap, which Redis has no command for.
const replaceScript = `local found = redis.call('GET', KEYS[1])
if not found then return 0 end
if found ~= ARGV[1] then return 1 end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 2`

// The answers of replaceScript.
const (
	replaceAbsent = iota
	replaceConflict
	replaceDone
)

// key returns the key of the record with the id, in printable characters. In a
// cluster, the part between the braces determines the node. The lock of the id
// has the same part, so it is on the same node. What Get says about the order of
// answers holds for one node only.
func (s *Store) key(id string) string {
	var buf [128]byte
	key := append(append(buf[:0], s.KeyPrefix...), ":{"...)
	key = base64.RawURLEncoding.AppendEncode(key, []byte(id))
	return string(append(key, '}'))
}

// Get implements truelayer.TokenStore.
//
// A cached record is dropped when the server says that it has changed. That
// message and all answers arrive over one connection, in the order in which
// things happened on the server. After the answer to a Lock, or to a Replace that
// conflicted, the cache therefore has nothing older. Reads go to the primary,
// never to a replica.
func (s *Store) Get(ctx context.Context, id string) ([]byte, error) {
	client, err := s.client(ctx)
	if err != nil {
		return nil, err
	}
	key := s.key(id)
	record, err := s.read(ctx, client, key)
	// the connection broke while another request read the record, or was closed
	if errors.Is(err, rueidis.ErrDoCacheAborted) || errors.Is(err, rueidis.ErrClosing) {
		if client, err = s.clientDespiteOutage(ctx); err != nil {
			return nil, err
		}
		record, err = s.read(ctx, client, key)
	}
	if next := s.retryClient(ctx, client, err); next != nil {
		record, err = s.read(ctx, next, key)
	}
	return record, s.interpret(ctx, "reading a session", err)
}

// read reads a record from the cache or from the server. The first read of a
// record is a plain command, and only the next one is cached. For each cached key,
// the server remembers which clients to tell, even if the key does not exist. If
// the first read were cached, visitors could fill the server's memory with
// invented keys. A record that is deleted between the two reads still costs the
// server that memory.
//
// All commands of this package are pinned. The library would otherwise reuse
// their memory while a broken connection may still be writing them.
func (s *Store) read(ctx context.Context, client rueidis.Client, key string) (record []byte, err error) {
	defer recoverFromPanic(&err)
	if *s.CacheSize > 0 {
		record, err = client.DoCache(ctx, client.B().Get().Key(key).Cache().Pin(), cacheTTL).AsBytes()
		if !rueidis.IsRedisNil(err) { // the answer of notCached, too
			return record, err
		}
	}
	record, err = client.Do(ctx, client.B().Get().Key(key).Build().Pin()).AsBytes()
	if err == nil {
		s.noteExists(ctx, client, key)
	}
	return record, err
}

// noteExists notes in the cache that a record exists, so that the next read is
// cached. It sends nothing.
func (s *Store) noteExists(ctx context.Context, client rueidis.Client, key string) {
	var err error
	defer recoverFromPanic(&err)
	if *s.CacheSize > 0 {
		client.DoCache(ctx, client.B().Get().Key(key).Cache().Pin(), markExists)
	}
}

// Create implements truelayer.TokenStore.
func (s *Store) Create(ctx context.Context, id string, record []byte, ttl time.Duration) error {
	milliseconds, err := checkTTL(ttl)
	if err != nil {
		return err
	}
	_, err = s.write(ctx, s.client, "creating a session", id, func(b rueidis.Builder, key string) rueidis.Completed {
		return b.Set().Key(key).Value(rueidis.BinaryString(record)).Nx().PxMilliseconds(milliseconds).Build()
	})
	if errors.Is(err, fs.ErrNotExist) { // SET with NX answers nil if the key exists
		return fs.ErrExist
	}
	return err
}

// Replace implements truelayer.TokenStore. It tries even during an outage: the
// record may have a refresh token that only this process knows, and it should be
// stored as soon as the server is back.
func (s *Store) Replace(ctx context.Context, id string, old, record []byte, ttl time.Duration) error {
	milliseconds, err := checkTTL(ttl)
	if err != nil {
		return err
	}
	answer, err := s.write(ctx, s.clientDespiteOutage, "replacing a session", id, func(b rueidis.Builder, key string) rueidis.Completed {
		return b.Eval().Script(replaceScript).Numkeys(1).Key(key).
			Arg(rueidis.BinaryString(old), rueidis.BinaryString(record), strconv.FormatInt(milliseconds, 10)).Build()
	})
	if err != nil {
		return err
	}
	switch done, err := answer.ToInt64(); {
	case err != nil:
		return fmt.Errorf("replacing a session: %w", err)
	case done == replaceAbsent:
		return fs.ErrNotExist
	case done == replaceConflict:
		return truelayer.ErrConflict
	}
	if client := s.server.client.Load(); client != nil {
		s.noteExists(ctx, *client, s.key(id))
	}
	return nil
}

// Delete implements truelayer.TokenStore.
func (s *Store) Delete(ctx context.Context, id string) error {
	_, err := s.write(ctx, s.client, "deleting a session", id, func(b rueidis.Builder, key string) rueidis.Completed {
		return b.Del().Key(key).Build()
	})
	return err
}

// write sends a command and then an EXISTS. The answer to EXISTS arrives after the
// server's message that the record has changed. When write returns, the cache
// therefore no longer has the record that was overwritten.
func (s *Store) write(ctx context.Context, connect connectFunc, what, id string, command func(b rueidis.Builder, key string) rueidis.Completed) (rueidis.RedisResult, error) {
	key := s.key(id)
	return s.do(ctx, connect, what, func(ctx context.Context, client rueidis.Client) rueidis.RedisResult {
		return client.DoMulti(ctx, command(client.B(), key).Pin(), client.B().Exists().Key(key).Build().Pin())[0]
	})
}

// do sends a request within the store's timeout, and interprets the answer.
func (s *Store) do(ctx context.Context, connect connectFunc, what string, req request) (answer rueidis.RedisResult, err error) {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(s.Timeout))
	defer cancel()
	client, err := connect(ctx)
	if err != nil {
		return rueidis.RedisResult{}, err
	}
	answer, err = req.send(ctx, client)
	if next := s.retryClient(ctx, client, err); next != nil {
		answer, err = req.send(ctx, next)
	}
	return answer, s.interpret(ctx, what, err)
}

// request sends a command and returns the answer.
type request func(context.Context, rueidis.Client) rueidis.RedisResult

// send sends the request. It returns a panic of the client library as an error.
func (r request) send(ctx context.Context, client rueidis.Client) (answer rueidis.RedisResult, err error) {
	defer recoverFromPanic(&err)
	answer = r(ctx, client)
	return answer, answer.Error()
}

// retryClient returns a new client if err says that the server refused the request
// because it is not the primary. It returns nil if there is no other client.
func (s *Store) retryClient(ctx context.Context, client rueidis.Client, err error) rueidis.Client {
	answer, answered := errors.AsType[*rueidis.RedisError](err)
	if !answered || !notPrimary(answer.Error()) {
		return nil
	}
	s.server.redial(clock(), explain(answer.Error()))
	next, err := s.server.connect(ctx)
	if err != nil || next == client {
		return nil
	}
	return next
}

// connectFunc is Store.client or Store.clientDespiteOutage.
type connectFunc func(context.Context) (rueidis.Client, error)

// client returns the client. During an outage the error is errDown, except for a
// few calls a second that probe the server.
func (s *Store) client(ctx context.Context) (rueidis.Client, error) {
	if s.server.outage.active() {
		if err := s.server.outage.probe(clock()); err != nil {
			return nil, err
		}
	}
	return s.clientDespiteOutage(ctx)
}

// clientDespiteOutage returns the client even during an outage.
func (s *Store) clientDespiteOutage(ctx context.Context) (rueidis.Client, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	client, err := s.server.connect(ctx)
	if err != nil {
		return nil, s.interpret(ctx, "connecting"+s.connectHint(), err)
	}
	return client, nil
}

// connectHint says what else the server has to be, where its own errors may mislead.
func (s *Store) connectHint() string {
	switch {
	case s.Sentinel != nil:
		return " (the addresses have to be those of Sentinels, whose own user and password stand in the sentinel block)"
	case s.TLS != nil:
		return " (with TLS, which the server has to speak)"
	}
	return ""
}

// interpret returns the store's error for an error of the client library, and
// records whether the server has answered.
func (s *Store) interpret(ctx context.Context, what string, err error) error {
	answer, answered := errors.AsType[*rueidis.RedisError](err)
	if err == nil || answered {
		if s.server.outage.recordAnswer() {
			s.logger.Info("redis answers again")
		}
		switch {
		case err == nil:
			return nil
		case rueidis.IsRedisNil(err):
			return fs.ErrNotExist
		}
		return fmt.Errorf("%s: %w", what, explain(answer.Error()))
	}
	err = withoutServerText(err)
	if errors.Is(err, errBadAnswer) {
		s.server.drop()
	}
	if errors.Is(ctx.Err(), context.Canceled) {
		return ctx.Err() // the caller gave up; this says nothing about the server
	}
	if s.server.outage.recordFailure(clock()) {
		s.logger.Error("redis gives no usable answer; requests that need it get status 503, and nobody is signed out", zap.Error(err))
	}
	return fmt.Errorf("%s: %w", what, err)
}

// checkTTL returns a ttl in milliseconds, which is what Redis counts in.
func checkTTL(ttl time.Duration) (int64, error) {
	milliseconds := ttl.Milliseconds()
	if milliseconds < 1 {
		return 0, errors.New("the record would have expired before it was written")
	}
	return milliseconds, nil
}
