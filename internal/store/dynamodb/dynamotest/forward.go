//go:build linux

package dynamotest

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"

	"golang.org/x/sys/unix"
)

// forwardTo is where DynamoDB Local listens, in its own network.
const forwardTo = "127.0.0.1:8000"

// forward runs a command in the network that this process is in, and forwards
// the connections of a socket to it, until the command ends.
func forward(socket string, command []string) error {
	if err := raiseLoopback(); err != nil {
		return fmt.Errorf("raising the loopback interface: %w", err)
	}
	if err := os.Unsetenv(forwardVar); err != nil {
		return err
	}
	cmd := exec.Command(command[0], command[1:]...) //nolint:gosec // our own arguments
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	ended, err := run(cmd)
	if err != nil {
		return err
	}
	err = await(ended, func() error {
		conn, err := net.Dial("tcp", forwardTo)
		if err != nil {
			return err
		}
		return conn.Close()
	})
	if err != nil {
		return err
	}
	listener, err := net.Listen("unix", socket)
	if err != nil {
		return err
	}
	go func() {
		<-ended
		_ = listener.Close()
	}()
	for {
		in, err := listener.Accept()
		if err != nil {
			return err
		}
		go join(in)
	}
}

// join copies both ways until both are done.
func join(in net.Conn) {
	defer in.Close()
	out, err := net.Dial("tcp", forwardTo)
	if err != nil {
		return
	}
	defer out.Close()
	done := make(chan struct{})
	go func() {
		_, _ = io.Copy(out, in)
		_ = out.(*net.TCPConn).CloseWrite() //nolint:forcetypeassert // it was dialled as one
		close(done)
	}()
	_, _ = io.Copy(in, out)
	<-done
}

// raiseLoopback makes 127.0.0.1 work in a fresh network.
func raiseLoopback() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	lo.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, lo)
}
