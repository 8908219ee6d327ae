// Command application is the application of the quickstart as a program of its own, for
// a container behind the one of Caddy.
package main

import (
	"context"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/caddy-truelayer/caddy-truelayer/examples/internal/payroll"
)

func main() {
	listen := flag.String("listen", ":8081", "`address` to listen on")
	api := flag.String("api", "https://api.truelayer-sandbox.com", "`URL` of TrueLayer's API")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	server := &http.Server{Addr: *listen, Handler: payroll.New(*api), ReadHeaderTimeout: 10 * time.Second}
	go func() {
		<-ctx.Done()
		_ = server.Close()
	}()
	if err := server.ListenAndServe(); ctx.Err() == nil {
		fmt.Fprintln(os.Stderr, "application:", err)
		os.Exit(1)
	}
}
