// Metal's standard library, as far as naga's translation of the kernels uses it: declarations, so that a C++ compiler can check
// names, types and overloads where Apple's compiler cannot be had. Stricter than Metal, which lets a scalar be of another type.
// Address spaces mean nothing here, except that `constant` is read-only.
#pragma once

#define kernel
#define device
#define threadgroup
#define thread
#define constant const

namespace metal {
using uint = unsigned;
using ushort = unsigned short;
using uchar = unsigned char;
using half = _Float16;

template <class T, int N> struct vec;
// Some components of a vector, which share its memory: as many as W.
template <class T, int W> struct swizzle {
  T memory;
};

// Scalars and vectors alike: `E` is the component's type, `W` the number of components, `V` the value's own type.
template <class X> struct traits { using E = X; using V = X; static constexpr int W = 1; };
template <class T, int N> struct traits<vec<T, N>> { using E = T; using V = vec<T, N>; static constexpr int W = N; };
template <class T, int W> struct traits<swizzle<T, W>> : traits<vec<T, W>> {};
template <class X> using element = typename traits<X>::E;
template <class X> using value = typename traits<X>::V;
template <class X> constexpr int width = traits<X>::W;

template <class A, class B> constexpr bool same = false;
template <class A> constexpr bool same<A, A> = true;
template <class X> concept is_vector = width<X> > 1;
template <class X> concept is_bool = same<element<X>, bool>;
template <class X> concept is_float = same<element<X>, float> || same<element<X>, half>;
template <class X> concept is_int = same<element<X>, int> || same<element<X>, uint>;
template <class X> concept is_number = is_float<X> || is_int<X>;
template <class A, class B> concept alike = same<value<A>, value<B>>;
// Operands: two vectors of a type, or a vector and a scalar of its components' type.
template <class A, class B> concept operands = (is_vector<A> || is_vector<B>) && same<element<A>, element<B>> &&
                                               (width<A> == width<B> || width<A> == 1 || width<B> == 1);
template <class A, class B> constexpr int joint = width<A> > width<B> ? width<A> : width<B>;

#define VECTOR(N)                                                                                                   \
  vec() = default;                                                                                                  \
  vec(const vec&) = default;                                                                                        \
  vec& operator=(const vec&) = default;                                                                             \
  template <class... A> requires(sizeof...(A) > 1 && (width<A> + ...) == N) vec(const A&...);                       \
  template <class A> requires(width<A> == 1) explicit(!same<A, T>) vec(const A&);                                   \
  template <class A> requires(width<A> == N && !same<A, vec>) explicit(!same<element<A>, T>) vec(const A&);         \
  T& operator[](uint);                                                                                              \
  const T& operator[](uint) const;
template <class T> struct vec<T, 2> {
  union { struct { T x, y; }; swizzle<T, 2> xy, yx; };
  VECTOR(2)
};
template <class T> struct vec<T, 3> {
  union { struct { T x, y, z; }; swizzle<T, 2> xy, yz, xz; swizzle<T, 3> xyz, zyx; };
  VECTOR(3)
};
template <class T> struct vec<T, 4> {
  union {
    struct { T x, y, z, w; };
    swizzle<T, 2> xy, yz, zw, xz, yw;
    swizzle<T, 3> xyz, yzw;
    swizzle<T, 4> yxwz, zwxy, wzyx;
  };
  VECTOR(4)
};

#define BINARY(op, kind, result)                                                                                    \
  template <class A, class B> requires(operands<A, B> && (kind<A>)) vec<result, joint<A, B>> operator op(const A&, const B&);
BINARY(+, is_number, element<A>)
BINARY(-, is_number, element<A>)
BINARY(*, is_number, element<A>)
BINARY(/, is_number, element<A>)
BINARY(%, is_int, element<A>)
BINARY(<, is_number, bool)
BINARY(<=, is_number, bool)
BINARY(>, is_number, bool)
BINARY(>=, is_number, bool)
BINARY(==, is_number<A> || is_bool, bool)
BINARY(!=, is_number<A> || is_bool, bool)
BINARY(&, is_int<A> || is_bool, element<A>)
BINARY(|, is_int<A> || is_bool, element<A>)
BINARY(^, is_int, element<A>)
// Shifts count in unsigned numbers.
#define SHIFT(op)                                                                                                   \
  template <class A, class B> requires(is_vector<A> && is_int<A> && same<element<B>, uint> && (width<B> == width<A> || width<B> == 1)) \
  value<A> operator op(const A&, const B&);
SHIFT(<<)
SHIFT(>>)
template <class A> requires(is_vector<A> && is_number<A>) value<A> operator-(const A&);
template <class A> requires(is_vector<A> && is_int<A>) value<A> operator~(const A&);
template <class A> requires(is_vector<A> && is_bool<A>) value<A> operator!(const A&);

#define ALIASES(T) using T##2 = vec<T, 2>; using T##3 = vec<T, 3>; using T##4 = vec<T, 4>;
ALIASES(float) ALIASES(int) ALIASES(uint) ALIASES(bool) ALIASES(half) ALIASES(uchar) ALIASES(char)
using packed_float3 = float3;
using packed_uint3 = uint3;
using packed_int3 = int3;

template <int C, int R> struct matrix {
  using column = vec<float, R>;
  matrix() = default;
  template <class... A> requires(sizeof...(A) == C && (same<A, column> && ...)) matrix(const A&...);
  column& operator[](uint);
  const column& operator[](uint) const;
};
using float4x4 = matrix<4, 4>;
template <int C, int R> vec<float, R> operator*(const matrix<C, R>&, const vec<float, C>&);
template <int C, int R> vec<float, C> operator*(const vec<float, R>&, const matrix<C, R>&);
template <int C, int R> matrix<R, C> transpose(const matrix<C, R>&);

#define FUNCTION1(name, kind) template <class A> requires(kind<A>) value<A> name(const A&);
#define FUNCTION2(name, kind) template <class A, class B> requires(kind<A> && alike<A, B>) value<A> name(const A&, const B&);
#define FUNCTION3(name, kind)                                                                                       \
  template <class A, class B, class C> requires(kind<A> && alike<A, B> && alike<A, C>) value<A> name(const A&, const B&, const C&);
FUNCTION1(exp, is_float) FUNCTION1(exp2, is_float) FUNCTION1(log, is_float) FUNCTION1(log2, is_float)
FUNCTION1(sqrt, is_float) FUNCTION1(rsqrt, is_float) FUNCTION1(tanh, is_float) FUNCTION1(sin, is_float)
FUNCTION1(cos, is_float) FUNCTION1(floor, is_float) FUNCTION1(ceil, is_float) FUNCTION1(rint, is_float)
FUNCTION1(round, is_float) FUNCTION1(trunc, is_float) FUNCTION1(fract, is_float) FUNCTION1(saturate, is_float)
FUNCTION1(abs, is_number) FUNCTION1(sign, is_float) FUNCTION1(popcount, is_int) FUNCTION1(clz, is_int)
FUNCTION1(ctz, is_int) FUNCTION1(reverse_bits, is_int)
FUNCTION2(pow, is_float) FUNCTION2(fmod, is_float) FUNCTION2(step, is_float) FUNCTION2(min, is_number) FUNCTION2(max, is_number)
FUNCTION3(fma, is_float) FUNCTION3(mix, is_float) FUNCTION3(clamp, is_number)
// Bounds for each component, or for all.
template <class A, class B> requires(is_vector<A> && is_number<A> && same<element<A>, B>) value<A> clamp(const A&, const B&, const B&);
template <class A, class B> requires(is_vector<A> && is_float<A> && alike<A, B>) element<A> dot(const A&, const B&);
template <class A> requires(is_bool<A>) bool all(const A&);
template <class A> requires(is_bool<A>) bool any(const A&);
// One condition for each component, or one for all.
template <class A, class B, class C> requires(alike<A, B> && is_bool<C> && (width<C> == width<A> || width<C> == 1))
value<A> select(const A&, const B&, const C&);
template <class A> requires(is_int<A> && width<A> == 1) A extract_bits(const A&, uint, uint);
template <class A> requires(is_int<A> && width<A> == 1) A insert_bits(const A&, const A&, uint, uint);

enum class mem_flags { mem_none, mem_device, mem_threadgroup, mem_texture };
enum memory_order { memory_order_relaxed };
void threadgroup_barrier(mem_flags);
void simdgroup_barrier(mem_flags);
template <class A> requires(is_number<A>) value<A> simd_broadcast(const A&, ushort);
FUNCTION1(simd_broadcast_first, is_number) FUNCTION1(simd_sum, is_number) FUNCTION1(simd_product, is_number)
FUNCTION1(simd_max, is_number) FUNCTION1(simd_min, is_number) FUNCTION1(simd_and, is_int) FUNCTION1(simd_or, is_int)
FUNCTION1(simd_xor, is_int) FUNCTION1(simd_prefix_exclusive_sum, is_number) FUNCTION1(simd_prefix_inclusive_sum, is_number)
bool simd_all(bool);
bool simd_any(bool);
#define SHUFFLE(name) template <class A> requires(is_number<A>) value<A> name(const A&, ushort);
SHUFFLE(simd_shuffle) SHUFFLE(simd_shuffle_xor) SHUFFLE(simd_shuffle_up) SHUFFLE(simd_shuffle_down)
SHUFFLE(quad_broadcast) SHUFFLE(quad_shuffle_xor)

template <class T> struct atomic { T memory; };
using atomic_uint = atomic<uint>;
using atomic_int = atomic<int>;
template <class T> T atomic_load_explicit(const atomic<T>*, memory_order);
template <class T> void atomic_store_explicit(atomic<T>*, T, memory_order);
#define ATOMIC(name) template <class T> T atomic_##name##_explicit(atomic<T>*, T, memory_order);
ATOMIC(fetch_add) ATOMIC(fetch_sub) ATOMIC(fetch_max) ATOMIC(fetch_min) ATOMIC(fetch_and) ATOMIC(fetch_or) ATOMIC(fetch_xor)
ATOMIC(exchange)
}  // namespace metal

// As many bits in another type.
template <class T, class A> requires(sizeof(T) == sizeof(metal::value<A>)) T as_type(const A&);
using metal::half, metal::half2, metal::float2, metal::float4, metal::int4, metal::uint2, metal::uint4, metal::ushort;
