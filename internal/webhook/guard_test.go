package webhook

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/gco-project/gco/internal/store"
)

func TestGuardAddresses(t *testing.T) {
	inside := guard{[]netip.Prefix{netip.MustParsePrefix("10.20.0.0/16"), netip.MustParsePrefix("fd00:1::/32")}}
	for _, test := range []struct {
		addresses string
		tls       bool
		allowed   bool
	}{
		// Public.
		{"1.1.1.1 8.8.8.8 172.15.255.255 172.32.0.0 100.63.255.255 100.128.0.0 198.20.0.0 2606:4700::1111 2a00:1450::1", true, true},
		{"::ffff:1.1.1.1", true, true},
		{"1.1.1.1 2606:4700::1111 ::ffff:1.1.1.1", false, false},
		// Loopback, unspecified, private, carrier-grade NAT, link-local, metadata.
		{"127.0.0.1 127.255.255.254 0.0.0.0 0.1.2.3 10.0.0.1 10.19.255.255 10.21.0.0 172.16.0.1 172.31.255.255 192.168.1.1", true, false},
		{"100.64.0.1 100.127.255.255 169.254.0.1 169.254.169.254 169.254.170.2 192.0.0.192 100.100.100.200", true, false},
		// Documentation, benchmarks, multicast, reserved, broadcast.
		{"192.0.2.1 198.51.100.1 203.0.113.1 198.18.0.1 198.19.255.255 224.0.0.1 239.255.255.255 240.0.0.1 255.255.255.255 192.88.99.1", true, false},
		{":: ::1 fe80::1 fe80::1%eth0 fec0::1 fc00::1 fd00:ec2::254 ff02::1 2001:db8::1 100::1 3fff::1 5f00::1 4000::1 8000::1", true, false},
		// IPv4 in disguise: mapped, compatible, NAT64, 6to4, Teredo.
		{"::ffff:127.0.0.1 ::ffff:169.254.169.254 ::ffff:10.0.0.1 ::127.0.0.1 64:ff9b::7f00:1 64:ff9b::a9fe:a9fe 64:ff9b:1::a00:1", true, false},
		{"2002:7f00:1:: 2002:a9fe:a9fe::1 2001:0:7f00:1::1 2001::1", true, false},
		// What an administrator allowed, also in disguise and without TLS.
		{"10.20.0.1 10.20.255.255 ::ffff:10.20.1.1 fd00:1::5", true, true},
		{"10.20.0.1 ::ffff:10.20.1.1 fd00:1::5", false, true},
	} {
		for address := range strings.FieldsSeq(test.addresses) {
			err := inside.check(netip.MustParseAddr(address), test.tls)
			if (err == nil) != test.allowed {
				t.Errorf("%s with TLS %t: %v", address, test.tls, err)
			}
		}
	}
}

func TestCheckURL(t *testing.T) {
	public, local := guard{}, guard{loopback}
	for _, test := range []struct {
		url   string
		guard guard
		fault string
	}{
		{"https://example.com/in?key=1", public, ""},
		{"https://1.1.1.1:8443", public, ""},
		{"http://localhost:8080/in", local, ""},
		{"http://127.0.0.1:8080/in", local, ""},
		{"http://example.com/", public, "https"},
		{"http://1.1.1.1/", local, "in the clear"},
		{"https://127.0.0.1/", public, "not public"},
		{"https://[::1]:80/", public, "not public"},
		{"https://[::ffff:169.254.169.254]/latest", public, "not public"},
		{"https://169.254.169.254/latest/meta-data", local, "not public"},
		{"ftp://example.com/", public, "https"},
		{"file:///etc/passwd", public, "https"},
		{"//example.com/", public, "https"},
		{"https:///in", public, "no host"},
		{"https://me:secret@example.com/", public, "password"},
		{"https://example.com/#there", public, "fragment"},
		{"https://example.com/\x00", public, "no URL"},
		{"https://example.com/" + strings.Repeat("a", maxURL), public, "bytes"},
	} {
		err := test.guard.checkURL(test.url)
		if (test.fault == "") != (err == nil) || (err != nil && !strings.Contains(err.Error(), test.fault)) {
			t.Errorf("%.80s: %v instead of %q", test.url, err, test.fault)
		}
	}
}

func FuzzCheckURL(f *testing.F) {
	for _, seed := range []string{"https://example.com", "http://127.1/", "https://[::1%25eth0]/", "https://0x7f.1/", "https://2130706433/", "https://a:b@c/"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if (guard{}).checkURL(text) != nil {
			return
		}
		if !strings.HasPrefix(strings.ToLower(text), "https://") {
			t.Fatalf("%q was taken", text)
		}
	})
}

// tryOnce sends one event to an address that was never checked, as if it had
// been allowed once, and returns what became of it.
func tryOnce(t *testing.T, address string, alter ...func(*Options)) (store.Try, *world) {
	t.Helper()
	w := newWorld(t, alter...)
	made, err := w.store.CreateWebhook(t.Context(), store.Webhook{ID: "w", URL: address, Secrets: []store.WebhookSecret{{Key: newKey()}}}, 1)
	w.must(err)
	w.events("a", 1)
	w.run()
	all := w.deliveries(made)
	if len(all) != 1 || len(all[0].Tries) != 1 {
		t.Fatalf("deliveries: %+v", all)
	}
	return all[0].Tries[0], w
}

func noNetworks(o *Options) { o.Settings.Networks = nil }

// TestGuardAtConnection sends to addresses inside by number and by name.
func TestGuardAtConnection(t *testing.T) {
	r := newReceiver(t, nil)
	_, port, err := net.SplitHostPort(strings.TrimPrefix(r.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	names := newDNS(t, func(int) netip.Addr { return netip.MustParseAddr("127.0.0.1") })
	for _, host := range []string{
		"127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "[::1]", "0.0.0.0", "[::]", "169.254.169.254", "inside.example",
		"127.1", "2130706433", "0x7f000001",
	} {
		for _, scheme := range []string{"http", "https"} {
			try, _ := tryOnce(t, fmt.Sprintf("%s://%s:%s/in", scheme, host, port), noNetworks, func(o *Options) { o.Resolver = names })
			if try.Status != 0 || try.Error == "" {
				t.Errorf("%s by %s: %+v", host, scheme, try)
			}
		}
	}
	if n := len(r.messages()); n != 0 {
		t.Errorf("%d messages got inside", n)
	}
}

// TestNameThatChanges has a name lead outside when it is looked up first, and
// inside when it is looked up again: what counts is where the connection goes.
func TestNameThatChanges(t *testing.T) {
	r := newReceiver(t, nil)
	_, port, err := net.SplitHostPort(strings.TrimPrefix(r.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	var asked atomic.Int64
	names := newDNS(t, func(n int) netip.Addr {
		asked.Store(int64(n))
		if n == 1 {
			return netip.MustParseAddr("93.184.215.14")
		}
		return netip.MustParseAddr("127.0.0.1")
	})
	first, err := names.LookupNetIP(t.Context(), "ip4", "changing.example")
	if err != nil || len(first) != 1 || (guard{}).check(first[0], true) != nil {
		t.Fatalf("the first look gives %v (%v)", first, err)
	}
	try, _ := tryOnce(t, "https://changing.example:"+port+"/", noNetworks, func(o *Options) { o.Resolver = names })
	if !strings.Contains(try.Error, "127.0.0.1 is not public") || asked.Load() < 2 {
		t.Errorf("after %d looks: %+v", asked.Load(), try)
	}
	if n := len(r.messages()); n != 0 {
		t.Errorf("%d messages got inside", n)
	}
}

// newDNS is a resolver whose every name has the address that answer gives to
// the n-th question.
func newDNS(t *testing.T, answer func(n int) netip.Addr) *net.Resolver {
	t.Helper()
	socket, err := new(net.ListenConfig).ListenPacket(t.Context(), "udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	t.Cleanup(func() {
		socket.Close()
		<-ended
	})
	go func() {
		defer close(ended)
		packet, n := make([]byte, 1500), 0
		for {
			size, from, err := socket.ReadFrom(packet)
			if err != nil {
				return
			}
			reply, err := dnsReply(packet[:size], func() netip.Addr { n++; return answer(n) })
			if err != nil {
				t.Error(err)
				return
			}
			if _, err := socket.WriteTo(reply, from); err != nil && !errors.Is(err, net.ErrClosed) {
				t.Error(err)
			}
		}
	}()
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp4", socket.LocalAddr().String())
	}}
}

// dnsReply answers questions for IPv4 addresses, and has none of the others.
func dnsReply(packet []byte, address func() netip.Addr) ([]byte, error) {
	var m dnsmessage.Message
	if err := m.Unpack(packet); err != nil {
		return nil, err
	}
	m.Response, m.RecursionAvailable, m.Additionals = true, true, nil
	if q := m.Questions[0]; q.Type == dnsmessage.TypeA {
		m.Answers = []dnsmessage.Resource{{
			Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class},
			Body:   &dnsmessage.AResource{A: address().As4()},
		}}
	}
	return m.Pack()
}

// TestRedirects answers with redirects to where nothing should go.
func TestRedirects(t *testing.T) {
	inside := newReceiver(t, nil)
	for _, code := range []int{301, 302, 303, 307, 308} {
		r := newReceiver(t, func(w http.ResponseWriter, _ message) {
			w.Header().Set("Location", inside.URL+"/latest/meta-data")
			w.WriteHeader(code)
		})
		try, _ := tryOnce(t, r.URL)
		if try.Status != code || !strings.Contains(try.Error, "not followed") {
			t.Errorf("%d: %+v", code, try)
		}
	}
	if n := len(inside.messages()); n != 0 {
		t.Errorf("%d redirects were followed", n)
	}
}

// TestProxyIsIgnored names a proxy in the environment, which would connect to
// wherever it is told.
func TestProxyIsIgnored(t *testing.T) {
	proxy := newReceiver(t, nil)
	for _, name := range []string{"HTTP_PROXY", "http_proxy", "ALL_PROXY"} {
		t.Setenv(name, proxy.URL)
	}
	r := newReceiver(t, nil)
	w := newWorld(t)
	for _, client := range []*http.Client{w.deliverer.plain, w.deliverer.secure} {
		if transport, ok := client.Transport.(*http.Transport); !ok || transport.Proxy != nil {
			t.Error("a client asks for proxies")
		}
	}
	if try, _ := tryOnce(t, r.URL); try.Status != 204 || len(proxy.messages()) != 0 {
		t.Errorf("%+v, and the proxy got %d", try, len(proxy.messages()))
	}
}

// TestAnswers gets answers that are too large or never end.
func TestAnswers(t *testing.T) {
	// Receivers are closed after the test, when none of them waits any more.
	parent := t
	ended := make(chan struct{})
	defer close(ended)
	for _, test := range []struct {
		name    string
		answer  func(http.ResponseWriter, message)
		timeout time.Duration
		check   func(store.Try) bool
	}{
		{"10 MB", func(w http.ResponseWriter, _ message) {
			for range 10 << 20 / (64 << 10) {
				if _, err := w.Write(make([]byte, 64<<10)); err != nil {
					return
				}
			}
		}, time.Minute, func(try store.Try) bool { return try.Status == 200 && len(try.Answer) == keptAnswer }},
		{"endless", func(w http.ResponseWriter, _ message) {
			for {
				if _, err := w.Write([]byte("more\n")); err != nil {
					return
				}
			}
		}, time.Minute, func(try store.Try) bool { return try.Status == 200 && len(try.Answer) == keptAnswer }},
		{"stalled body", func(w http.ResponseWriter, _ message) {
			w.WriteHeader(http.StatusOK)
			fmt.Fprint(w, "begin")
			_ = http.NewResponseController(w).Flush()
			<-ended
		}, time.Minute, func(try store.Try) bool { return try.Status == 200 && try.Answer == "begin" }},
		{"never", func(http.ResponseWriter, message) {
			<-ended
		}, 50 * time.Millisecond, func(try store.Try) bool { return try.Status == 0 && strings.Contains(try.Error, "in time") }},
		{"huge header", func(w http.ResponseWriter, _ message) {
			w.Header().Set("X-Large", strings.Repeat("a", 10<<20))
		}, time.Minute, func(try store.Try) bool { return try.Status == 0 && try.Error != "" }},
		{"no text", func(w http.ResponseWriter, _ message) {
			_, _ = w.Write([]byte{0xff, 'a'})
		}, time.Minute, func(try store.Try) bool { return try.Status == 200 && try.Answer == "?a" }},
		{"compressed", func(w http.ResponseWriter, m message) {
			fmt.Fprint(w, m.header.Get("Accept-Encoding"))
		}, time.Minute, func(try store.Try) bool { return try.Answer == "" }},
	} {
		t.Run(test.name, func(t *testing.T) {
			try, _ := tryOnce(t, newReceiver(parent, test.answer).URL, func(o *Options) { o.Settings.Timeout = test.timeout })
			if !test.check(try) {
				try.Answer = fmt.Sprintf("%.100s", try.Answer)
				t.Errorf("%+v", try)
			}
		})
	}
}

// TestNothingSecretIsLogged looks for what the address and the secret hold, in
// the log and in what is kept of a try.
func TestNothingSecretIsLogged(t *testing.T) {
	w := newWorld(t)
	r := newReceiver(t, status(http.StatusGone))
	broken := newReceiver(t, func(http.ResponseWriter, message) { panic(http.ErrAbortHandler) })
	closed := newReceiver(t, nil)
	closed.Close()
	const credential = "/hook/c0ffee-credential"
	var secrets []string
	for _, at := range []string{r.URL, broken.URL, closed.URL, "http://127.0.0.1:1"} {
		address := at + credential
		made, secret, err := w.Create(t.Context(), Request{URL: &address, By: "tester"})
		w.must(err)
		_, second, err := w.Rotate(t.Context(), made.ID, time.Hour, Request{By: "tester"})
		w.must(err)
		secrets = append(secrets, strings.TrimPrefix(secret, secretPrefix), strings.TrimPrefix(second, secretPrefix))
	}
	w.events("a", 2)
	for range 6 {
		w.run()
		w.clock.Step(time.Hour)
	}
	hooks, err := w.store.Webhooks(t.Context())
	w.must(err)
	said := w.logged.String()
	for _, hook := range hooks {
		said += fmt.Sprintf("%+v", w.deliveries(hook))
	}
	if !strings.Contains(said, "connection refused") || !strings.Contains(said, "EOF") || !strings.Contains(w.logged.String(), "given up") {
		t.Errorf("too little was said to be a test: %s", said)
	}
	for _, secret := range append(secrets, "c0ffee") {
		if strings.Contains(said, secret) {
			t.Errorf("%s is in %s", secret, said)
		}
	}
}
