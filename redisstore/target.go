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

	"github.com/caddy-truelayer/caddy-truelayer/redisstore/internal/guardedconn"
)

// target is what a store connects to, with placeholders expanded and files read.
// Stores with equal targets share a client, even across reloads. A renewed
// certificate makes a different target.
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

// clientOption returns the target as an option of the client library.
func (t target) clientOption() (rueidis.ClientOption, error) {
	option := rueidis.ClientOption{
		InitAddress:       t.Addresses,
		Username:          t.Username,
		Password:          t.Password,
		SelectDB:          t.Database,
		ForceSingleClient: !t.Cluster && t.Master == "",
		DisableCache:      t.CacheSize == 0,
		CacheSizeEachConn: t.CacheSize,
		// One connection to each node, which is always being read. All messages
		// about a key then arrive in order, see Store.Get.
		PipelineMultiplex: -1,
		AlwaysPipelining:  true,
		// A silent server is noticed within the timeout. After a quarter of the
		// timeout without an answer, or after the next quarter, the library
		// sends a ping, and the answer has half of the timeout.
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

// checkRole refuses a replica. In a cluster it accepts replicas, which the library
// asks where the keys are.
func (t target) checkRole(role string) error {
	if !t.Cluster && isReplicaRole(role) {
		return errReplica
	}
	return nil
}

// topologyInterval is how often Sentinels and clusters are asked for the primary,
// besides the changes that they announce. It is also how often a single server is
// asked whether it still is the primary.
const topologyInterval = 5 * time.Second

// retryOnce repeats a read immediately, once, if its connection broke: the server
// was restarted, or another one took over. The library repeats nothing else. A
// read without an answer in time is not repeated.
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
