package serve

import (
	"math/bits"
	"net/http"
	"sync"
)

// Memory of less than kept bytes is left to Go's collector; of more than most, too, so that a replica does not keep what one
// large request needed.
const (
	kept = 64 << 10
	most = 4 << 20
)

// blocks is memory that no request uses, by the logarithm of its size. A large block that is new costs a page fault every 4 KiB,
// clearing, and collections: more than what is done with it.
type blocks [bits.UintSize]sync.Pool

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
	class := bits.Len(uint(n - 1))
	block, ok := m.from[class].Get().(*[]byte)
	if !ok {
		b := make([]byte, 0, 1<<class)
		block = &b
	}
	m.taken = append(m.taken, block)
	return *block
}

// release gives back all that was taken.
func (m *memory) release() {
	for _, block := range m.taken {
		m.from[bits.Len(uint(cap(*block)-1))].Put(block)
	}
	m.taken = nil
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
