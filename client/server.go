package client

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"pegasus/base"
)

// maxPage is the longest page that is read.
const maxPage = 256 << 20

// Page asks a server ("host:port", meta or replica) for a page of its HTTP service, and returns what is on it.
// Another status than 200 is an error.
func (a Admin) Page(ctx context.Context, addr, path string, query url.Values) ([]byte, error) {
	ctx, cancel := a.c.withDeadline(ctx)
	defer cancel()
	at := url.URL{Scheme: "http", Host: addr, Path: "/" + path, RawQuery: query.Encode()}
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, at.String(), nil)
	if err != nil {
		return nil, err
	}
	if err := a.c.reachServer(ctx, addr); err != nil {
		return nil, fmt.Errorf("page %s: %w", path, err)
	}
	if a.c.opts.Who != "" {
		q.Header.Set("User-Agent", a.c.opts.Who)
	}
	r, err := a.c.pages.Do(q)
	if err != nil {
		code := base.ErrNetworkFailure
		if ctx.Err() != nil {
			code = base.ErrTimeout
		}
		return nil, fmt.Errorf("page %s of server %s: %w: %w", path, addr, err, code)
	}
	defer r.Body.Close()
	body, err := io.ReadAll(io.LimitReader(r.Body, maxPage))
	if err != nil {
		return nil, fmt.Errorf("page %s of server %s: %w", path, addr, err)
	}
	if r.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("page %s of server %s: %s: %s", path, addr, r.Status, strings.TrimSpace(string(body)))
	}
	return body, nil
}
