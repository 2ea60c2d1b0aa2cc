package dashboard

import (
	"context"
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	cdplog "github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// browser starts a Chromium, whose complaints about pages are collected.
func browser(t *testing.T) (ctx context.Context, complaints func() []string) {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("%v; .ci/run installs it", err)
		}
		t.Skip(err)
	}
	dir, err := os.MkdirTemp("", "dashboard")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // processes of the browser may write for a moment after it has ended
		for end := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
			if err := os.RemoveAll(dir); err == nil || time.Now().After(end) {
				if err != nil {
					t.Error(err)
				}
				return
			}
		}
	})
	opts := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.UserDataDir(dir), chromedp.WSURLReadTimeout(2*time.Minute),
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true))
	alloc, cancelAlloc := chromedp.NewExecAllocator(t.Context(), opts...)
	t.Cleanup(cancelAlloc)
	ctx, cancel := chromedp.NewContext(alloc)
	t.Cleanup(cancel)
	var mu sync.Mutex
	var list []string
	chromedp.ListenTarget(ctx, func(e any) {
		mu.Lock()
		defer mu.Unlock()
		switch e := e.(type) {
		case *runtime.EventExceptionThrown:
			list = append(list, e.ExceptionDetails.Error())
		case *runtime.EventConsoleAPICalled:
			list = append(list, fmt.Sprint("console: ", e.Args))
		case *cdplog.EventEntryAdded:
			list = append(list, e.Entry.Text)
		}
	})
	if err := chromedp.Run(ctx, cdplog.Enable()); err != nil {
		t.Fatal(err)
	}
	ctx, cancelTime := context.WithTimeout(ctx, 6*time.Minute)
	t.Cleanup(cancelTime)
	return ctx, func() []string {
		mu.Lock()
		defer mu.Unlock()
		l := list
		list = nil
		return l
	}
}

// Each page in a real browser: it complains of nothing, nothing is wider than the window, on a phone as well and in the
// dark, and text has enough contrast. With PEGASUS_SCREENSHOTS set to a directory there are pictures in it afterwards.
func TestBrowser(t *testing.T) {
	ctx, complaints := browser(t)
	f := newFake(1000, 10_000)
	srv := httptest.NewServer(dashboardOf(f))
	defer srv.Close()
	run := func(what string, a ...chromedp.Action) {
		t.Helper()
		if err := chromedp.Run(ctx, a...); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		for _, c := range complaints() {
			t.Errorf("%s: %s", what, c)
		}
	}
	for _, view := range []struct {
		name   string
		width  int64
		scheme string
	}{{"desktop", 1280, "light"}, {"phone-dark", 360, "dark"}, {"desktop-dark", 1280, "dark"}, {"phone", 360, "light"}} {
		run(view.name, chromedp.EmulateViewport(view.width, 800), emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: view.scheme}}))
		for _, path := range paths {
			what := view.name + " " + path
			var wide, background string
			var low []string
			run(what, chromedp.Navigate(srv.URL+path), chromedp.WaitReady("footer"),
				chromedp.Evaluate(`document.documentElement.scrollWidth > innerWidth ? [...document.querySelectorAll("body *")].filter(e => !e.closest(".scroll") && e.getBoundingClientRect().right > innerWidth + 1).map(e => e.outerHTML.slice(0, 80)).join("\n") || "the page" : ""`, &wide),
				chromedp.Evaluate(`getComputedStyle(document.body).backgroundColor`, &background),
				chromedp.Evaluate(contrast, &low))
			if wide != "" {
				t.Errorf("%s is wider than the window: %s", what, wide)
			}
			if dark := background == "rgb(17, 21, 26)"; dark != (view.scheme == "dark") {
				t.Errorf("%s has the background %s", what, background)
			}
			for _, l := range low {
				t.Errorf("%s: too little contrast: %s", what, l)
			}
			if dir := os.Getenv("PEGASUS_SCREENSHOTS"); dir != "" {
				var shot []byte
				run(what, chromedp.CaptureScreenshot(&shot))
				name := view.name + strings.NewReplacer("/", "-", "?", "-", ":", "-").Replace(path) + ".png"
				if err := os.WriteFile(filepath.Join(dir, name), shot, 0o644); err != nil {
					t.Fatal(err)
				}
			}
		}
	}

	// By keyboard alone: the first stop leads past the menu, the next ones are the menu, and a form is opened, filled and sent.
	var first, second, focus string
	run("keyboard", chromedp.Navigate(srv.URL+"/dashboard/servers/10.0.0.2:34801"), chromedp.WaitReady("footer"),
		chromedp.KeyEvent(kb.Tab), chromedp.Evaluate(`document.activeElement.className`, &first),
		chromedp.KeyEvent(kb.Tab), chromedp.Evaluate(`document.activeElement.textContent`, &second))
	if first != "skip" || second != "Overview" {
		t.Errorf("Tab leads to %q, then to %q", first, second)
	}
	for i := 0; focus != "SUMMARY" && i < 20; i++ {
		run("keyboard", chromedp.KeyEvent(kb.Tab), chromedp.Evaluate(`document.activeElement.tagName`, &focus))
	}
	var location, said string
	run("keyboard", chromedp.KeyEvent(kb.Enter), chromedp.KeyEvent(kb.Tab), chromedp.KeyEvent(kb.Enter),
		chromedp.WaitVisible(".said"), chromedp.Location(&location), chromedp.Text(".said", &said))
	if got := f.changes(); len(got) != 1 || got[0] != "role of 10.0.0.2:34801: NODE_LEAVING" || !strings.Contains(said, "being taken out") {
		t.Errorf("did %q, at %s, which says %q", got, location, said)
	}

	// A page that is looked at follows the cluster, and doesn't while a form is open.
	f.mu.Lock()
	f.health.Why = append(f.health.Why, f.health.Why[0])
	f.mu.Unlock()
	run("live", chromedp.Navigate(srv.URL+"/dashboard/"), chromedp.WaitReady("footer"), chromedp.Evaluate(`document.querySelector("h1").textContent = "old"; 1`, nil),
		chromedp.Poll(`document.querySelector("h1").textContent === "Overview"`, nil, chromedp.WithPollingTimeout(time.Minute)))
}

// contrast returns texts with less than 4.5:1 to what is behind them.
const contrast = `(() => {
  const lum = c => { const v = c.match(/[\d.]+/g).slice(0, 3).map(x => { x /= 255; return x <= 0.03928 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4; }); return 0.2126 * v[0] + 0.7152 * v[1] + 0.0722 * v[2]; };
  const behind = e => { for (; e; e = e.parentElement) { const b = getComputedStyle(e).backgroundColor; if (!/, 0\)$|transparent/.test(b)) return b; } return "rgb(255, 255, 255)"; };
  const seen = new Set();
  for (const e of document.querySelectorAll("body *")) {
    if (![...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim())) continue;
    const fg = getComputedStyle(e).color, bg = behind(e), a = lum(fg), b = lum(bg);
    if ((Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05) < 4.5) seen.add(e.tagName + "." + e.className + ": " + fg + " on " + bg);
  }
  return [...seen];
})()`
