package attempt

import (
	"io"
	"os"
	"strings"
	"syscall"
)

// maxResult is runtime.MaxResult.
const maxResult = 4096

// LoadResult reads what the containers of the attempt in dir left as its
// result, and one byte more than is allowed where it is too long. What is no
// file of text counts as nothing: a job may do there what it likes.
func LoadResult(dir Dir) string {
	// Without O_NONBLOCK a FIFO would keep the supervisor waiting.
	file, err := os.OpenFile(dir.Result(), os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return ""
	}
	defer file.Close()
	if info, err := file.Stat(); err != nil || !info.Mode().IsRegular() {
		return ""
	}
	text, err := io.ReadAll(io.LimitReader(file, maxResult+1))
	if err != nil {
		return ""
	}
	return strings.ToValidUTF8(string(text), "\ufffd")
}
