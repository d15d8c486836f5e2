package serve

import (
	"math/bits"
	"net/http"
	"slices"
	"sync"
)

// Memory of less than kept bytes is left to Go's collector; of more than most, too, so that a replica does not keep what one
// large request needed.
const (
	kept = 64 << 10
	most = 4 << 20
)

// blocks is memory that no request uses, by its class. A large block that is new costs a page fault every 4 KiB, clearing, and
// collections: more than what is done with it.
type blocks [4 * bits.UintSize]sync.Pool

// class is of the blocks of size bytes, the least that have n: there are four sizes up to each power of two, so that a fifth of a
// block is unused at most.
func class(n int) (class, size int) {
	step := bits.Len(uint(n-1)) - 3
	steps := (n-1)>>step + 1 // 5 to 8
	return 4*step + steps - 5, steps << step
}

// memory is what one request has taken out of blocks. The nil memory takes everything from Go.
type memory struct {
	from  *blocks
	taken []*[]byte
}

// take returns empty memory of at least n bytes.
func (m *memory) take(n int) []byte {
	if m == nil || n < kept || n > most {
		return make([]byte, 0, n)
	}
	class, size := class(n)
	block, ok := m.from[class].Get().(*[]byte)
	if !ok {
		b := make([]byte, 0, size)
		block = &b
	}
	m.taken = append(m.taken, block)
	return *block
}

// release gives back all that was taken.
func (m *memory) release() {
	for _, block := range m.taken {
		m.put(block)
	}
	m.taken = nil
}

// decoded gives a body back of which nothing is needed any more, before its request waits for the model: in JSON a tensor is three
// times as large as in memory. It may be memory that was not taken here.
func (m *memory) decoded(body []byte) {
	if m == nil || len(body) == 0 {
		return
	}
	m.taken = slices.DeleteFunc(m.taken, func(block *[]byte) bool {
		found := &(*block)[:1][0] == &body[0]
		if found {
			m.put(block)
		}
		return found
	})
}

func (m *memory) put(block *[]byte) {
	class, _ := class(cap(*block))
	m.from[class].Put(block)
}

// lease serves with memory that the next request gets.
func lease(serve func(s *Server, st *state, w http.ResponseWriter, r *http.Request, m *memory) error) func(*Server, *state, http.ResponseWriter, *http.Request) error {
	return func(s *Server, st *state, w http.ResponseWriter, r *http.Request) error {
		m := &memory{from: &s.blocks}
		err := serve(s, st, w, r, m)
		// A prediction that was left when its context ended may go on reading its inputs.
		if r.Context().Err() == nil {
			m.release()
		}
		return err
	}
}
