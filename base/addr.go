package base

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"time"

	"pegasus/base/pause"
	"pegasus/base/tbin"
)

// RPCAddress is rDSN's packed IPv4 address: ip<<32 | port<<16 | type. Zero is "none".
type RPCAddress uint64

const rpcAddressIPv4 = 1

// MakeRPCAddress packs an IPv4 address and port. It returns 0 for anything but IPv4.
func MakeRPCAddress(ap netip.AddrPort) RPCAddress {
	a := ap.Addr().Unmap()
	if !a.Is4() {
		return 0
	}
	q := a.As4()
	ip := uint64(q[0])<<24 | uint64(q[1])<<16 | uint64(q[2])<<8 | uint64(q[3])
	return RPCAddress(ip<<32 | uint64(ap.Port())<<16 | rpcAddressIPv4)
}

// IsZero tells whether a names nobody.
func (a RPCAddress) IsZero() bool { return a == 0 }

// AddrPort unpacks a; the zero AddrPort if a names nobody.
func (a RPCAddress) AddrPort() netip.AddrPort {
	if a&3 != rpcAddressIPv4 {
		return netip.AddrPort{}
	}
	ip := uint32(a >> 32)
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{byte(ip >> 24), byte(ip >> 16), byte(ip >> 8), byte(ip)}), uint16(a>>16))
}

// String returns "ip:port", or "invalid address".
func (a RPCAddress) String() string {
	if ap := a.AddrPort(); ap.IsValid() {
		return ap.String()
	}
	return "invalid address"
}

// AppendThrift appends the raw body.
func (a RPCAddress) AppendThrift(b []byte) []byte { return tbin.AppendI64(b, int64(a)) }

// ReadThrift reads the raw body.
func (a *RPCAddress) ReadThrift(r *tbin.Reader) { *a = RPCAddress(r.I64()) }

// HostPort is rDSN's named address. Type 0 is "none", 1 a single host, 2 a group.
type HostPort struct {
	Host string
	Port uint16
	Type int8
}

// MakeHostPort returns the address of a single host.
func MakeHostPort(host string, port uint16) HostPort { return HostPort{host, port, 1} }

// IsZero tells whether h names nobody.
func (h HostPort) IsZero() bool { return h.Type == 0 }

// String returns "host:port", or "invalid host_port".
func (h HostPort) String() string {
	if h.Type != 1 {
		return "invalid host_port"
	}
	return h.Host + ":" + strconv.Itoa(int(h.Port))
}

// Name returns "name:port" if the host is a name, "" if it is an IP address or h names nobody.
func (h HostPort) Name() string {
	if h.Type != 1 || h.Host == "" {
		return ""
	}
	if _, err := netip.ParseAddr(h.Host); err == nil {
		return ""
	}
	return h.String()
}

// AppendThrift appends the raw body: string, i16, byte.
func (h HostPort) AppendThrift(b []byte) []byte {
	b = tbin.AppendString(b, h.Host)
	b = tbin.AppendI16(b, int16(h.Port))
	return tbin.AppendByte(b, h.Type)
}

// ReadThrift reads the raw body.
func (h *HostPort) ReadThrift(r *tbin.Reader) {
	h.Host = r.String()
	h.Port = uint16(r.I16())
	h.Type = r.Byte()
}

// ParseAddr turns "ip:port" or "name:port" into a packed address, resolving a name to
// its first IPv4 address.
func ParseAddr(s string) (RPCAddress, error) {
	if ap, err := netip.ParseAddrPort(s); err == nil {
		if a := MakeRPCAddress(ap); a != 0 {
			return a, nil
		}
		return 0, fmt.Errorf("address %q: only IPv4 can travel in Pegasus' protocol", s)
	}
	t, err := net.ResolveTCPAddr("tcp4", s)
	if err != nil {
		return 0, fmt.Errorf("address %q: %w", s, err)
	}
	return MakeRPCAddress(t.AddrPort()), nil
}

// LookUpEvery is how often servers look where the names lead that they are known by.
const LookUpEvery = 2 * time.Second

// lookUpTime bounds one look.
const lookUpTime = 2 * time.Second

// LookUp returns where "name:port" leads: was, if that is among the IPv4 addresses of the name, else the first of them.
func LookUp(ctx context.Context, s string, was RPCAddress) (RPCAddress, error) {
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return 0, fmt.Errorf("address %q: %w", s, err)
	}
	ctx, cancel := context.WithTimeout(ctx, lookUpTime)
	defer cancel()
	p, err := net.DefaultResolver.LookupPort(ctx, "tcp4", port)
	if err != nil {
		return 0, fmt.Errorf("address %q: %w", s, err)
	}
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip4", host)
	if err != nil {
		return 0, fmt.Errorf("address %q: %w", s, err)
	}
	found := RPCAddress(0)
	for _, ip := range ips {
		switch a := MakeRPCAddress(netip.AddrPortFrom(ip, uint16(p))); {
		case a == was && a != 0:
			return was, nil
		case found == 0:
			found = a
		}
	}
	if found == 0 {
		return 0, fmt.Errorf("address %q: the name has no IPv4 address, and only such can travel in Pegasus' protocol", s)
	}
	return found, nil
}

// AwaitAddr is ParseAddr that waits as long for a name to lead somewhere: that of a container may do so only a moment after its start.
func AwaitAddr(ctx context.Context, s string, wait time.Duration) (RPCAddress, error) {
	if ap, err := netip.ParseAddrPort(s); err == nil {
		if a := MakeRPCAddress(ap); a != 0 {
			return a, nil
		}
		return 0, fmt.Errorf("address %q: only IPv4 can travel in Pegasus' protocol", s)
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	for {
		a, err := LookUp(ctx, s, 0)
		if err == nil || !pause.For(ctx, 100*time.Millisecond) {
			return a, err
		}
	}
}
