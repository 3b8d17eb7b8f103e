// Command probe is the test image's only program: an HTTP server with a few helpers,
// so that `kubectl exec` has something to run in an image without a shell.
//
//	probe serve             answer on :8080 with the pod's name, log each request
//	probe get URL           print a response
//	probe lookup NAME       resolve a name
//	probe cat FILE
//	probe write FILE TEXT
//	probe stat FILE         its mode and group
//	probe size DIR          MiB of the file system there
package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "probe:", err)
		os.Exit(1)
	}
}

func main() {
	args := append(os.Args[1:], "", "", "")
	switch args[0] {
	case "serve", "":
		serve()
	case "get":
		c := http.Client{Timeout: 3 * time.Second}
		r, err := c.Get(args[1])
		check(err)
		_, err = io.Copy(os.Stdout, r.Body)
		check(err)
	case "lookup":
		a, err := net.LookupHost(args[1])
		check(err)
		fmt.Println(args[1], a)
	case "cat":
		b, err := os.ReadFile(args[1])
		check(err)
		os.Stdout.Write(b)
	case "write":
		check(os.WriteFile(args[1], []byte(args[2]+"\n"), 0o644))
	case "stat":
		s, err := os.Stat(args[1])
		check(err)
		fmt.Println(s.Mode(), s.Sys().(*syscall.Stat_t).Gid)
	case "size":
		var s syscall.Statfs_t
		check(syscall.Statfs(args[1], &s))
		fmt.Println(s.Blocks * uint64(s.Bsize) >> 20)
	default:
		check(fmt.Errorf("unknown helper %q", args[0]))
	}
}

func serve() {
	host, err := os.Hostname()
	check(err)
	srv := &http.Server{Addr: ":8080", Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Println("request", r.Method, r.URL.Path, "from", r.RemoteAddr)
		fmt.Fprintf(w, "probe %s\n", host)
	})}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	context.AfterFunc(ctx, func() { srv.Shutdown(context.Background()) })
	fmt.Println("serving on :8080 as", host)
	if err := srv.ListenAndServe(); err != http.ErrServerClosed {
		check(err)
	}
}
