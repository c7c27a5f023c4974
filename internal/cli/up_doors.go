package cli

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/gco-project/gco/internal/config"
	"github.com/gco-project/gco/internal/daemon"
)

// Where the doors of gco up listen where the API listens on its usual port; else
// on free ports.
const (
	usualPort     = 8420
	frontDoorPort = 8421
	firstGateway  = 8431
)

const (
	// laptopDrain is how long open requests may go on when gco up ends.
	laptopDrain = 2 * time.Second
	// laptopCheck is the time between two health checks of a region, of which
	// laptopThreshold make its state.
	laptopCheck     = time.Second
	laptopThreshold = 2
	// laptopLatency is how much further away each region is than the one
	// before.
	laptopLatency = 10 * time.Millisecond
)

// inheritedPort is the file descriptor of what a process is handed first.
const inheritedPort = 3

// doors are the gateways of the regions, by name, and the front door before
// them.
type doors struct {
	gateways map[string]net.Listener
	front    *daemon.Accelerator
}

// openDoors opens every port, so that the front door knows all of them.
func (l *laptop) openDoors() (err error) {
	l.doors.gateways = map[string]net.Listener{}
	l.config.Gateway.DrainTimeout = min(l.config.Gateway.DrainTimeout, laptopDrain)
	defer func() {
		if err != nil {
			err = errors.Join(err, l.doors.close())
		}
	}()
	front := l.frontDoor
	if front == "" {
		if front, err = l.beside(frontDoorPort); err != nil {
			return err
		}
	}
	c := l.config.Accelerator
	c.Listeners, c.Groups = []config.FrontListener{{Address: front, ClientAffinity: "none"}}, map[string]config.EndpointGroup{}
	c.HealthCheck = config.EndpointCheck{Path: "/api/v1/health", Interval: laptopCheck, Timeout: laptopCheck, Threshold: laptopThreshold}
	c.DrainTimeout = min(c.DrainTimeout, laptopDrain)
	for i, name := range l.names {
		address, err := l.beside(firstGateway + i)
		if err != nil {
			return err
		}
		listener, err := net.Listen("tcp", address)
		if err != nil {
			return fmt.Errorf("opening the gateway of region %s: %w", name, err)
		}
		l.doors.gateways[name] = listener
		c.Groups[name] = config.EndpointGroup{
			Latency: l.latency(i, name), TrafficDial: 100,
			Endpoints: []config.FrontEndpoint{{Address: listener.Addr().String(), Weight: 128}},
		}
	}
	if l.doors.front, err = daemon.OpenAccelerator(daemon.AcceleratorOptions{Config: c, Clock: l.Clock, Log: l.log}); err != nil {
		return fmt.Errorf("opening the front door: %w", err)
	}
	return nil
}

// latency is that of the configuration, or grows from region to region.
func (l *laptop) latency(i int, name string) time.Duration {
	if group, configured := l.config.Accelerator.Groups[name]; configured {
		return group.Latency
	}
	return time.Duration(i+1) * laptopLatency
}

// beside is an address of the API's host, with the port if the API has its
// usual one.
func (l *laptop) beside(port int) (string, error) {
	host, text, err := net.SplitHostPort(l.config.Server.Listen)
	if err != nil {
		return "", fmt.Errorf("reading the address of the API: %w", err)
	}
	if text != strconv.Itoa(usualPort) {
		port = 0
	}
	return net.JoinHostPort(host, strconv.Itoa(port)), nil
}

// gatewayAddresses lists where the gateways listen.
func (l *laptop) gatewayAddresses() string {
	parts := make([]string, len(l.names))
	for i, name := range l.names {
		parts[i] = fmt.Sprintf("%s %s", name, l.doors.gateways[name].Addr())
	}
	return strings.Join(parts, ", ")
}

// handOver gives a gateway's port to a process of its own.
func (d *doors) handOver(region string) (*os.File, error) {
	listener, ok := d.gateways[region].(*net.TCPListener)
	if !ok {
		return nil, fmt.Errorf("region %s has no port for its gateway", region)
	}
	file, err := listener.File()
	return file, errors.Join(err, listener.Close())
}

// close closes what nobody serves yet.
func (d *doors) close() error {
	var errs []error
	for _, listener := range d.gateways {
		if err := listener.Close(); !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
