package moods

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// visit is one request at the proxy.
type visit struct {
	proxy *Proxy
	w     http.ResponseWriter
	r     *http.Request
	part  float64 // where in a body something happens, from 0 to 1
}

func (p *Proxy) visit(w http.ResponseWriter, r *http.Request) *visit {
	r.Body = &countedBody{r.Body, p, isUpload(r)}
	return &visit{proxy: p, w: w, r: r}
}

// countedBody counts the bytes of blobs that come from a client.
type countedBody struct {
	io.ReadCloser
	proxy *Proxy
	blob  bool
}

func (b *countedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if b.blob {
		b.proxy.mu.Lock()
		b.proxy.bytes += int64(n)
		b.proxy.mu.Unlock()
	}
	return n, err
}

// errCut ends a body that is handed on.
var errCut = errors.New("cut")

// unknownLength stands for that of a body which does not say it, in bytes.
const unknownLength = 8 << 20

// upstream hands the request on with a body, and returns the registry's answer.
func (v *visit) upstream(body io.Reader) (*http.Response, error) {
	if v.isGone() {
		return nil, errGone
	}
	out := v.r.Clone(v.r.Context())
	out.RequestURI = ""
	out.URL.Scheme, out.URL.Host = "http", v.proxy.registry
	out.Header.Del("Authorization")
	out.Header.Del("Connection")
	out.Body = io.NopCloser(body)
	if v.r.ContentLength == 0 {
		out.Body = http.NoBody
	}
	return v.proxy.outbound.RoundTrip(out)
}

// errGone says that the proxy has ended the session that is asked for.
var errGone = errors.New("the session is gone")

// hand hands the request on, and the answer back.
func (v *visit) hand() {
	if v.r.URL.Path == tokenPath {
		v.proxy.guard.token(v.w, v.r)
		return
	}
	v.handBody(v.r.Body)
}

func (v *visit) handIfAllowed() {
	if v.proxy.allowed(v) {
		v.hand()
	}
}

func (v *visit) handBody(body io.Reader) {
	resp, err := v.upstream(body)
	v.answer(resp, err)
}

// change hands the request on, and the answer back when it was changed.
func (v *visit) change(f func(*http.Response)) {
	resp, err := v.upstream(v.r.Body)
	if err == nil {
		f(resp)
	}
	v.answer(resp, err)
}

// answer hands an answer back.
func (v *visit) answer(resp *http.Response, err error) {
	switch {
	case errors.Is(err, errGone):
		v.say(http.StatusNotFound)
	case err != nil:
		v.proxy.logf("%s %s: %v", v.r.Method, v.target(), err)
		v.reset()
	default:
		defer resp.Body.Close()
		v.head(resp)
		_, _ = io.Copy(v.w, resp.Body) // whoever goes away has what he wants
	}
}

// target is the request's path as it stands in the log: without the registry's notes on an upload.
func (v *visit) target() string {
	if mount := v.r.URL.Query().Get("mount"); mount != "" {
		return v.r.URL.Path + "?mount=" + mount
	}
	return v.r.URL.Path
}

// head writes status and headers.
func (v *visit) head(resp *http.Response) {
	v.proxy.logf("%s %s: %d, sent %d %s", v.r.Method, v.target(), resp.StatusCode, v.r.ContentLength, v.r.Header.Get("Content-Range")+resp.Header.Get("Range"))
	maps.Copy(v.w.Header(), resp.Header)
	v.w.WriteHeader(resp.StatusCode)
}

// say answers with an error of the registry's form.
func (v *visit) say(code int) {
	v.proxy.logf("%s %s: says %d", v.r.Method, v.target(), code)
	v.w.Header().Set("Content-Type", "application/json")
	v.w.WriteHeader(code)
	if v.r.Method != http.MethodHead {
		fmt.Fprintf(v.w, `{"errors":[{"code":"MOOD","message":"%s"}]}`, http.StatusText(code))
	}
}

// sayLater answers 429, and expects no second attempt before the pause is over.
func (v *visit) sayLater(header string, pause time.Duration) {
	v.proxy.mu.Lock()
	v.proxy.after[v.r.Method+v.r.URL.Path] = time.Now().Add(pause)
	v.proxy.mu.Unlock()
	v.w.Header().Set("Retry-After", header)
	v.say(http.StatusTooManyRequests)
}

// at is the byte of the request's body at which something happens.
func (v *visit) at() int64 {
	length := v.r.ContentLength
	if length < 0 {
		length = unknownLength
	}
	return int64(v.part * float64(length))
}

// lose has the registry carry the request out, and keeps the answer.
func (v *visit) lose() {
	if v.r.URL.Path == tokenPath {
		return
	}
	if resp, err := v.upstream(v.r.Body); err == nil {
		v.proxy.logf("%s %s: %d, kept back", v.r.Method, v.target(), resp.StatusCode)
		_, _ = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}
}

// handPart hands the first part of the body on, and cuts the connection to the registry there.
func (v *visit) handPart() { v.handUntil(func() {}) }

// handPartAndWait does so, and stands still before that.
func (v *visit) handPartAndWait() { v.handUntil(v.pause) }

func (v *visit) handUntil(then func()) {
	end := readerFunc(func([]byte) (int, error) {
		then()
		return 0, errCut
	})
	if resp, err := v.upstream(io.MultiReader(io.LimitReader(v.r.Body, v.at()), end)); err == nil {
		resp.Body.Close()
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// pause stands still.
func (v *visit) pause() {
	select {
	case <-time.After(v.proxy.patience):
	case <-v.proxy.closed:
	}
}

// What trickles: so much at a time, so often, then the rest at once. It takes half a second.
const (
	drop  = 4 << 10
	drops = 50
)

// slowly returns what trickles.
func (v *visit) slowly(r io.Reader) io.Reader {
	left := drops
	return readerFunc(func(p []byte) (int, error) {
		if left > 0 {
			left--
			time.Sleep(10 * time.Millisecond)
			p = p[:min(len(p), drop)]
		}
		return r.Read(p)
	})
}

func (v *visit) trickle() { v.handBody(v.slowly(v.r.Body)) }

func (v *visit) trickleDown() {
	v.change(func(resp *http.Response) { resp.Body = readCloser{v.slowly(resp.Body), resp.Body} })
}

type readCloser struct {
	io.Reader
	io.Closer
}

// answerPart sends a part of the answer's body.
func (v *visit) answerPart() {
	resp, err := v.upstream(v.r.Body)
	if err != nil {
		return
	}
	defer resp.Body.Close()
	v.head(resp)
	_, _ = io.CopyN(v.w, resp.Body, int64(v.part*float64(max(0, resp.ContentLength))))
	_ = http.NewResponseController(v.w).Flush()
}

// shorten answers with less than there is, as if that were all.
func (v *visit) shorten() {
	v.change(func(resp *http.Response) {
		if resp.ContentLength > 0 {
			length := int64(v.part * float64(resp.ContentLength))
			resp.Header.Set("Content-Length", fmt.Sprint(length))
			resp.Body = readCloser{io.LimitReader(resp.Body, length), resp.Body}
		}
	})
}

// spoil changes a byte of the answer.
func (v *visit) spoil() {
	v.change(func(resp *http.Response) {
		body, at, passed := resp.Body, int64(v.part*float64(resp.ContentLength)), int64(0)
		resp.Body = readCloser{readerFunc(func(p []byte) (int, error) {
			n, err := body.Read(p)
			if passed <= at && at < passed+int64(n) {
				p[at-passed] ^= 1
			}
			passed += int64(n)
			return n, err
		}), body}
	})
}

// limit refuses a request with a longer body than most bytes, by what it says of its length or by what comes.
func (v *visit) limit(most int64) {
	if v.r.ContentLength > most {
		v.refuse()
		return
	}
	if v.r.ContentLength >= 0 {
		v.hand()
		return
	}
	tooMuch := false
	body := io.MultiReader(io.LimitReader(v.r.Body, most), readerFunc(func(p []byte) (int, error) {
		n, err := v.r.Body.Read(p)
		if n > 0 {
			tooMuch, n, err = true, 0, errCut
		}
		return n, err
	}))
	resp, err := v.upstream(body)
	if tooMuch {
		if err == nil {
			resp.Body.Close()
		}
		v.refuse()
		return
	}
	v.answer(resp, err)
}

// refuse answers 413 and reads what still comes, as proxies do so that the answer is not lost.
func (v *visit) refuse() {
	v.w.Header().Set("Connection", "close")
	v.say(http.StatusRequestEntityTooLarge)
	_ = http.NewResponseController(v.w).Flush()
	_, _ = io.Copy(io.Discard, v.r.Body)
}

// endSession forgets the upload that the request belongs to.
func (v *visit) endSession() {
	v.proxy.mu.Lock()
	defer v.proxy.mu.Unlock()
	v.proxy.gone[v.r.URL.Path] = true
}

func (v *visit) isGone() bool {
	v.proxy.mu.Lock()
	defer v.proxy.mu.Unlock()
	return v.proxy.gone[v.r.URL.Path]
}

// moveUpload sends the client to the other host with its bytes.
func (v *visit) moveUpload() {
	v.change(func(resp *http.Response) {
		resp.Header.Set("Location", strings.Replace(resp.Header.Get("Location"), v.proxy.Host, v.proxy.stranger, 1))
	})
}

// moveBlob sends the client to the other host for a blob.
func (v *visit) moveBlob() {
	to := url.URL{Scheme: "http", Host: v.proxy.stranger, Path: v.r.URL.Path}
	v.proxy.logf("%s %s: sent to the other host", v.r.Method, v.target())
	http.Redirect(v.w, v.r, to.String(), http.StatusTemporaryRedirect)
}

// reset ends the connection with a reset.
func (v *visit) reset() { v.leave(true) }

// shut closes the connection in order.
func (v *visit) shut() { v.leave(false) }

func (v *visit) leave(reset bool) {
	conn, _, err := http.NewResponseController(v.w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler) // HTTP/2: nothing but this ends a stream
	}
	defer conn.Close()
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return
	}
	if reset {
		_ = tcp.SetLinger(0)
		return
	}
	// What is not read yet would make the kernel reset the connection.
	_ = tcp.CloseWrite()
	_ = tcp.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	_, _ = io.Copy(io.Discard, tcp)
}
