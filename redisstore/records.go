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

// cacheTTL bounds how long a record that was read is kept in the process. The
// server says when it changes; this is for messages that get lost.
const cacheTTL = time.Minute

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

// key is where the record with the id is, in letters that every tool prints.
// What is between the braces decides which node of a cluster has it, so that
// the id's lock is there too: Get's promise holds for what one node says.
func (s *Store) key(id string) string {
	var buf [128]byte
	key := append(append(buf[:0], s.KeyPrefix...), ":{"...)
	key = base64.RawURLEncoding.AppendEncode(key, []byte(id))
	return string(append(key, '}'))
}

// Get implements truelayer.TokenStore.
//
// What the process keeps of a record is dropped when the server says that it
// has changed. That message and all answers come over one connection, in the
// order in which things happened there: whoever has seen the answer to a
// Replace that conflicted, or to a Lock, does not find anything older here.
// Reads go to the primary, never to a replica.
func (s *Store) Get(ctx context.Context, id string) ([]byte, error) {
	client, err := s.client(ctx)
	if err != nil {
		return nil, err
	}
	key := s.key(id)
	record, err := s.read(ctx, client, key)
	// the connection broke while another request read the same, or was given up
	if errors.Is(err, rueidis.ErrDoCacheAborted) || errors.Is(err, rueidis.ErrClosing) {
		if client, err = s.connection(ctx); err != nil {
			return nil, err
		}
		record, err = s.read(ctx, client, key)
	}
	if next := s.replacement(ctx, client, err); next != nil {
		record, err = s.read(ctx, next, key)
	}
	return record, s.verdict(ctx, "reading a session", err)
}

// read asks for a record with a plain command at first, and has it kept only if
// it is asked for again soon. Of each key that is to be kept the server remembers
// whom to tell, also if there is no such key, and anybody can invent those. A
// record that goes between the two leaves that much behind.
//
// It pins its commands, as all others here are: the library would use their
// memory for the next one, also while a connection that has just broken may
// still be writing it.
func (s *Store) read(ctx context.Context, client rueidis.Client, key string) (record []byte, err error) {
	defer recoverFromNonsense(&err)
	if *s.CacheSize > 0 {
		record, err = client.DoCache(ctx, client.B().Get().Key(key).Cache().Pin(), cacheTTL).AsBytes()
		if !rueidis.IsRedisNil(err) { // which is also what there is of a record that the process does not know
			return record, err
		}
	}
	record, err = client.Do(ctx, client.B().Get().Key(key).Build().Pin()).AsBytes()
	if err == nil {
		s.exists(ctx, client, key)
	}
	return record, err
}

// exists notes that a record does, so that the next read has it kept. Nothing is
// sent.
func (s *Store) exists(ctx context.Context, client rueidis.Client, key string) {
	var err error
	defer recoverFromNonsense(&err)
	if *s.CacheSize > 0 {
		client.DoCache(ctx, client.B().Get().Key(key).Cache().Pin(), note)
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
	if errors.Is(err, fs.ErrNotExist) { // no "OK"
		return fs.ErrExist
	}
	return err
}

// Replace implements truelayer.TokenStore. It is sent even while the server is
// known to be away: what it brings may be a refresh token that only this
// process has, and that must not be late when the server is back.
func (s *Store) Replace(ctx context.Context, id string, old, record []byte, ttl time.Duration) error {
	milliseconds, err := checkTTL(ttl)
	if err != nil {
		return err
	}
	answer, err := s.write(ctx, s.connection, "replacing a session", id, func(b rueidis.Builder, key string) rueidis.Completed {
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
		s.exists(ctx, *client, s.key(id))
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

// write sends a command, and behind it one that only asks: its answer comes
// after the server's message that the record has changed, so that this process
// does not read what it has just overwritten.
func (s *Store) write(ctx context.Context, connect connector, what, id string, command func(b rueidis.Builder, key string) rueidis.Completed) (rueidis.RedisResult, error) {
	key := s.key(id)
	return s.do(ctx, connect, what, func(ctx context.Context, client rueidis.Client) rueidis.RedisResult {
		return client.DoMulti(ctx, command(client.B(), key).Pin(), client.B().Exists().Key(key).Build().Pin())[0]
	})
}

// do returns an answer and the error that it is.
func (s *Store) do(ctx context.Context, connect connector, what string, ask asker) (answer rueidis.RedisResult, err error) {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(s.Timeout))
	defer cancel()
	client, err := connect(ctx)
	if err != nil {
		return rueidis.RedisResult{}, err
	}
	answer, err = ask.answer(ctx, client)
	if next := s.replacement(ctx, client, err); next != nil {
		answer, err = ask.answer(ctx, next)
	}
	return answer, s.verdict(ctx, what, err)
}

// asker asks a server something.
type asker func(context.Context, rueidis.Client) rueidis.RedisResult

func (ask asker) answer(ctx context.Context, client rueidis.Client) (answer rueidis.RedisResult, err error) {
	defer recoverFromNonsense(&err)
	answer = ask(ctx, client)
	return answer, answer.Error()
}

// replacement returns the connections to ask again over, if an answer says that
// the server does nothing since it is no primary, and there are others.
func (s *Store) replacement(ctx context.Context, client rueidis.Client, err error) rueidis.Client {
	answer, answered := errors.AsType[*rueidis.RedisError](err)
	if !answered || !noPrimary(answer.Error()) {
		return nil
	}
	s.server.redial(clock(), refusal(answer.Error()))
	next, err := s.server.connect(ctx)
	if err != nil || next == client {
		return nil
	}
	return next
}

// connector is client or connection.
type connector func(context.Context) (rueidis.Client, error)

// client returns the connections, unless the server is known to be away.
func (s *Store) client(ctx context.Context) (rueidis.Client, error) {
	if s.server.outage.known() {
		if err := s.server.outage.look(clock()); err != nil {
			return nil, err
		}
	}
	return s.connection(ctx)
}

// connection returns the connections.
func (s *Store) connection(ctx context.Context) (rueidis.Client, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	client, err := s.server.connect(ctx)
	if err != nil {
		return nil, s.verdict(ctx, "connecting", err)
	}
	return client, nil
}

// verdict says what an answer, or none, means for a caller, and for the
// callers after it.
func (s *Store) verdict(ctx context.Context, what string, err error) error {
	answer, answered := errors.AsType[*rueidis.RedisError](err)
	if err == nil || answered {
		if s.server.outage.answered() {
			s.logger.Info("redis answers again")
		}
		switch {
		case err == nil:
			return nil
		case rueidis.IsRedisNil(err):
			return fs.ErrNotExist
		}
		return fmt.Errorf("%s: %w", what, refusal(answer.Error()))
	}
	err = withoutServerText(err)
	if errors.Is(err, errNonsense) {
		s.server.drop()
	}
	if errors.Is(ctx.Err(), context.Canceled) {
		return ctx.Err() // whoever asked has gone
	}
	if s.server.outage.silent(clock()) {
		s.logger.Error("redis gives no answer that can be used; requests that need it get 503, and nobody is signed out", zap.Error(err))
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
