// Package observability holds what Prometheus and Grafana need to watch over the
// module. Its tests check these files.
package observability
