package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// account is who runs PostgreSQL where this program runs as root, which
// PostgreSQL refuses. Debian's package makes it.
const account = "postgres"

// postgres is a cluster that lives as long as this program.
type postgres struct {
	dir     string
	url     string
	version string
	process *exec.Cmd
	ended   chan error
}

// startPostgres makes a cluster with PostgreSQL's own defaults (fsync and
// synchronous_commit on) in a new folder under dir. It listens on loopback.
func startPostgres(ctx context.Context, dir string) (*postgres, error) {
	bin, err := binaries()
	if err != nil {
		return nil, err
	}
	p := &postgres{ended: make(chan error, 1)}
	if p.dir, err = os.MkdirTemp(dir, "river-postgres-"); err != nil {
		return nil, fmt.Errorf("making a folder for the cluster: %w", err)
	}
	credential, err := p.owner()
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(p.dir))
	}
	data := filepath.Join(p.dir, "data")
	initdb := exec.CommandContext(ctx, filepath.Join(bin, "initdb"), "-D", data, "-U", account, "-A", "trust", "--no-locale", "-E", "UTF8")
	initdb.SysProcAttr, initdb.Dir = &syscall.SysProcAttr{Credential: credential}, p.dir
	if out, err := initdb.CombinedOutput(); err != nil {
		return nil, errors.Join(fmt.Errorf("making the cluster: %w: %s", err, out), os.RemoveAll(p.dir))
	}
	port, err := freePort(ctx)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(p.dir))
	}
	// Not CommandContext: stop ends it in order, also when ctx has ended.
	p.process = exec.Command(filepath.Join(bin, "postgres"), "-D", data, "-p", strconv.Itoa(port),
		"-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="+p.dir, "-c", "max_connections=300")
	p.process.SysProcAttr = &syscall.SysProcAttr{Credential: credential, Setpgid: true}
	p.process.Dir = p.dir
	log, err := os.Create(filepath.Join(p.dir, "log"))
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(p.dir))
	}
	defer log.Close()
	p.process.Stdout, p.process.Stderr = log, log
	if err := p.process.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("starting PostgreSQL: %w", err), os.RemoveAll(p.dir))
	}
	go func() { p.ended <- p.process.Wait() }()
	p.url = fmt.Sprintf("postgres://%s@127.0.0.1:%d/postgres?sslmode=disable", account, port)
	if err := p.waitUntilReady(ctx); err != nil {
		p.stop()
		return nil, err
	}
	return p, nil
}

// owner hands the folder to an account that may run PostgreSQL.
func (p *postgres) owner() (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return &syscall.Credential{Uid: uint32(os.Geteuid()), Gid: uint32(os.Getegid()), NoSetGroups: true}, nil
	}
	who, err := user.Lookup(account)
	if err != nil {
		return nil, fmt.Errorf("PostgreSQL does not run as root, and there is no account %s: %w", account, err)
	}
	uid, err := strconv.Atoi(who.Uid)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.Atoi(who.Gid)
	if err != nil {
		return nil, err
	}
	if err := os.Chown(p.dir, uid, gid); err != nil {
		return nil, err
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
}

func (p *postgres) waitUntilReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for {
		err := p.check(ctx)
		if err == nil {
			return nil
		}
		select {
		case ended := <-p.ended:
			p.ended <- ended
			return fmt.Errorf("PostgreSQL ended at its start: %w; it said: %s", ended, p.said())
		case <-ctx.Done():
			return fmt.Errorf("PostgreSQL does not answer: %w", err)
		case <-ticker.C:
		}
	}
}

// check reads the version, and makes sure that what is compared is durable.
func (p *postgres) check(ctx context.Context) error {
	connection, err := pgx.Connect(ctx, p.url)
	if err != nil {
		return err
	}
	defer connection.Close(ctx)
	var fsync, commit string
	err = connection.QueryRow(ctx, `SELECT current_setting('server_version'), current_setting('fsync'), current_setting('synchronous_commit')`).
		Scan(&p.version, &fsync, &commit)
	if err == nil && (fsync != "on" || commit != "on") {
		err = fmt.Errorf("fsync is %s and synchronous_commit is %s", fsync, commit)
	}
	return err
}

func (p *postgres) said() string {
	text, err := os.ReadFile(filepath.Join(p.dir, "log"))
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(string(text))
}

// stop ends PostgreSQL in its fast mode and removes the cluster.
func (p *postgres) stop() {
	_ = p.process.Process.Signal(syscall.SIGINT)
	select {
	case <-p.ended:
	case <-time.After(20 * time.Second):
		_ = syscall.Kill(-p.process.Process.Pid, syscall.SIGKILL)
		<-p.ended
	}
	if err := os.RemoveAll(p.dir); err != nil {
		fmt.Fprintln(os.Stderr, "river: removing the cluster:", err)
	}
}

// binaries finds initdb and postgres, which Debian keeps out of PATH; the
// newest version wins.
func binaries() (string, error) {
	if path, err := exec.LookPath("initdb"); err == nil {
		return filepath.Dir(path), nil
	}
	found, err := fs.Glob(os.DirFS("/"), "usr/lib/postgresql/*/bin/initdb")
	if err != nil || len(found) == 0 {
		return "", errors.New("PostgreSQL is not installed: apt-get install postgresql")
	}
	slices.Sort(found)
	return filepath.Dir("/" + found[len(found)-1]), nil
}

func freePort(ctx context.Context) (int, error) {
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("finding a free port: %w", err)
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port, nil
}
