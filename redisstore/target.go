package redisstore

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/redis/rueidis"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-truelayer/caddy-truelayer/redisstore/internal/guardedconn"
)

// target is what a store connects to, with placeholders expanded and files
// read. Stores with equal targets share a connection, also over a reload; one
// with a renewed certificate does not.
type target struct {
	Addresses          []string
	Username, Password string
	Database           int
	TLS                bool
	ServerName         string
	CA                 []byte
	Certificate, Key   []byte
	Master             string
	SentinelUsername   string
	SentinelPassword   string
	Cluster            bool
	Timeout            time.Duration
	CacheSize          int
}

// expand returns the store's target.
func (s *Store) expand() (target, error) {
	t := target{
		Database: s.Database, Cluster: s.Cluster, Timeout: time.Duration(s.Timeout), CacheSize: *s.CacheSize,
	}
	var errs []error
	set := func(option, value string, expanded *string) {
		var err error
		if value == "" {
			return
		}
		if *expanded, err = caddy.NewReplacer().ReplaceOrErr(value, true, true); err != nil || *expanded == "" {
			// without the cause, which may repeat the value
			errs = append(errs, fmt.Errorf("%s: a placeholder in it is unknown or empty: check that the environment variable or file exists for the user that runs Caddy", option))
		}
	}
	t.Addresses = make([]string, len(s.Address))
	for i, address := range s.Address {
		set("address", address, &t.Addresses[i])
	}
	set("username", s.Username, &t.Username)
	set("password", reveal(s.Password), &t.Password)
	if s.Sentinel != nil {
		t.Master = s.Sentinel.Master
		set("sentinel username", s.Sentinel.Username, &t.SentinelUsername)
		set("sentinel password", reveal(s.Sentinel.Password), &t.SentinelPassword)
	}
	if err := errors.Join(errs...); err != nil {
		return target{}, err
	}
	if err := checkAddresses(t.Addresses); err != nil {
		return target{}, err
	}
	if s.TLS == nil {
		return t, nil
	}
	t.TLS, t.ServerName = true, s.TLS.ServerName
	for _, file := range []struct {
		option, name string
		content      *[]byte
	}{
		{"tls ca", s.TLS.CA, &t.CA},
		{"tls certificate", s.TLS.Certificate, &t.Certificate},
		{"tls key", s.TLS.Key, &t.Key},
	} {
		if file.name == "" {
			continue
		}
		content, err := os.ReadFile(file.name)
		if err != nil {
			return target{}, fmt.Errorf("%s: reading the file: %w", file.option, err)
		}
		*file.content = content
	}
	return t, nil
}

func reveal(secret *string) string {
	if secret == nil {
		return ""
	}
	return *secret
}

// identity tells targets apart. It is a digest, since a target has a password.
func (t target) identity() string {
	text, err := json.Marshal(t) //nolint:gosec // hashed and forgotten
	if err != nil {
		panic(err) // it has nothing that cannot be marshaled
	}
	digest := sha256.Sum256(text)
	return string(digest[:])
}

// clientOption is the target in the client library's words.
func (t target) clientOption() (rueidis.ClientOption, error) {
	option := rueidis.ClientOption{
		InitAddress:       t.Addresses,
		Username:          t.Username,
		Password:          t.Password,
		SelectDB:          t.Database,
		ForceSingleClient: !t.Cluster && t.Master == "",
		DisableCache:      t.CacheSize == 0,
		CacheSizeEachConn: t.CacheSize,
		// One connection to each node, with a reader that never rests: what the
		// server says of a key then comes in the order in which it happened, see
		// records.go.
		PipelineMultiplex: -1,
		AlwaysPipelining:  true,
		// A server that falls silent is noticed by a ping that is due after a
		// quarter of the time without an answer, or after the next quarter, and
		// has half of it.
		Dialer:           net.Dialer{Timeout: t.Timeout / 2, KeepAlive: t.Timeout / 4},
		ConnWriteTimeout: t.Timeout / 2,
		DialCtxFn:        guardedconn.Dialer(t.CacheSize != 0, t.checkRole),
		NewCacheStoreFn:  newCache,
		RetryDelay:       retryOnce,
		ClusterOption:    rueidis.ClusterOption{ShardsRefreshInterval: topologyInterval, MaxMovedRedirections: 3},
	}
	if t.TLS {
		config, err := t.tlsConfig()
		if err != nil {
			return option, err
		}
		option.TLSConfig = config
	}
	if t.Master != "" {
		option.Sentinel = rueidis.SentinelOption{
			Dialer:                  option.Dialer,
			TLSConfig:               option.TLSConfig,
			MasterSet:               t.Master,
			Username:                t.SentinelUsername,
			Password:                t.SentinelPassword,
			TopologyRefreshInterval: topologyInterval,
		}
	}
	return option, nil
}

// checkRole refuses a replica. In a cluster it does not: there every node is
// asked where the keys are.
func (t target) checkRole(role string) error {
	if !t.Cluster && namesReplica(role) {
		return errReplica
	}
	return nil
}

// topologyInterval is how often Sentinels and clusters are asked who is the
// primary, beside being told of changes, and a server whether it still is.
const topologyInterval = 5 * time.Second

// retryOnce repeats a read at once whose connection broke: the server was
// restarted, or another one took over. The library repeats nothing else. One
// that got no answer in time is not repeated: its time is over.
func retryOnce(attempts int, _ rueidis.Completed, err error) time.Duration {
	if attempts > 1 || errors.Is(err, os.ErrDeadlineExceeded) {
		return -1
	}
	return 0
}

func (t target) tlsConfig() (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.ServerName}
	if t.CA != nil {
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(t.CA) {
			return nil, errors.New("tls ca: the file has no certificate in PEM")
		}
	}
	if t.Certificate != nil {
		pair, err := tls.X509KeyPair(t.Certificate, t.Key)
		if err != nil {
			return nil, fmt.Errorf("tls certificate: %w", err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, nil
}
