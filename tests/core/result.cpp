// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <cstddef>
#include <cstring>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <support/catch.hpp>

#include <resect/core/result.hpp>

using namespace resect;

namespace {

const error broken{errc::not_finite, "W", "NaN", "finite values"};

// Counts how many of it there are, and can be told to throw when it is copied or moved.
struct tracked {
  static inline int alive = 0, copies = 0, moves = 0;
  static void reset() { alive = copies = moves = 0; }

  int value;
  explicit tracked(int v) : value(v) { ++alive; }
  tracked(const tracked& other) : value(other.value) { ++alive, ++copies; }
  tracked(tracked&& other) noexcept : value(std::exchange(other.value, -1)) { ++alive, ++moves; }
  ~tracked() { --alive; }
};

struct throws_when_moved {
  static inline int alive = 0;
  static inline bool armed = false;
  throws_when_moved() { ++alive; }
  throws_when_moved(const throws_when_moved&) { ++alive; }
  throws_when_moved(throws_when_moved&&) {
    if (armed) throw std::runtime_error("moved");
    ++alive;
  }
  ~throws_when_moved() { --alive; }
};

// Whatever the compiler knows of memory, it knows no more afterwards.
void forget(void* memory) { asm volatile("" : : "r"(memory) : "memory"); }

}  // namespace

static_assert(std::is_nothrow_move_constructible_v<result<tracked>>);
static_assert(!std::is_nothrow_move_constructible_v<result<throws_when_moved>>);
static_assert(std::is_copy_constructible_v<result<int>> && std::is_copy_assignable_v<result<int>>);
static_assert(std::is_move_constructible_v<result<std::unique_ptr<int>>>);
static_assert(!std::is_copy_constructible_v<result<std::unique_ptr<int>>>,
              "a result must not claim copies that its value has not");
static_assert(!std::is_copy_assignable_v<result<std::unique_ptr<int>>>);
static_assert(!std::is_convertible_v<result<int>, bool>);
static_assert(std::is_same_v<result<int>::value_type, int> && std::is_same_v<status::value_type, void>);
static_assert(std::is_same_v<decltype(*std::declval<result<int>>()), int&&>);
static_assert(std::is_same_v<decltype(*std::declval<const result<int>&>()), const int&>);

TEST_CASE("a result holds a value or an error") {
  const result<int> good = 7;
  CHECK(good);
  CHECK(good.has_value());
  CHECK(*good == 7);
  CHECK(good.value() == 7);
  const result<int> bad = broken;
  CHECK_FALSE(bad);
  CHECK_FALSE(bad.has_value());
  CHECK(bad.error().code == errc::not_finite);
  CHECK(bad.error().message() == broken.message().view());
}

TEST_CASE("a result's value can be changed, reached into and moved out") {
  result<std::string> r = std::string("abc");
  r->append("d");
  *r += "e";
  CHECK(r->size() == 5);
  const std::string out = *std::move(r);
  CHECK(out == "abcde");

  result<std::unique_ptr<int>> owner = std::make_unique<int>(3);
  const auto taken = std::move(owner).value();
  CHECK(*taken == 3);
  CHECK(owner.value() == nullptr);
}

TEST_CASE("every value that a result made is destroyed once, whichever way it was copied, moved or assigned") {
  tracked::reset();
  {
    result<tracked> a{tracked{1}};
    CHECK(tracked::alive == 1);
    result<tracked> b = a;
    CHECK(tracked::alive == 2);
    result<tracked> c = std::move(a);
    CHECK(tracked::alive == 3);  // what was moved from is still an object
    CHECK(c->value == 1);
    result<tracked> none = broken;
    CHECK(tracked::alive == 3);
    c = none;  // value replaced by error
    CHECK_FALSE(c);
    CHECK(tracked::alive == 2);
    none = b;  // error replaced by value
    CHECK(none);
    CHECK(none->value == 1);
    CHECK(tracked::alive == 3);
    b = std::move(none);  // value by value
    CHECK(b->value == 1);
    CHECK(tracked::alive == 3);
    c = result<tracked>{broken};  // error by error
    CHECK_FALSE(c);
    const auto& self = b;
    b = self;
    CHECK(b->value == 1);
    CHECK(tracked::alive == 3);
    b = result<tracked>{tracked{9}};
    CHECK(b->value == 9);
  }
  CHECK(tracked::alive == 0);
}

TEST_CASE("making a result out of a temporary moves and never copies") {
  tracked::reset();
  {
    const auto make = [](bool good) -> result<tracked> {
      if (!good) return broken;
      return tracked{4};
    };
    const auto r = make(true);
    CHECK(r->value == 4);
    const auto e = make(false);
    CHECK_FALSE(e);
  }
  CHECK(tracked::copies == 0);
  CHECK(tracked::alive == 0);
}

TEST_CASE("results live in containers that grow") {
  tracked::reset();
  {
    std::vector<result<tracked>> all;
    for (int i = 0; i < 100; ++i) {
      if (i % 3 == 0) all.emplace_back(broken);
      else all.emplace_back(tracked{i});
    }
    CHECK(tracked::copies == 0);
    for (int i = 0; i < 100; ++i) {
      const auto& r = all[static_cast<std::size_t>(i)];
      REQUIRE(r.has_value() == (i % 3 != 0));
      if (r) CHECK(r->value == i);
      else CHECK(r.error().operand == "W");
    }
  }
  CHECK(tracked::alive == 0);
}

TEST_CASE("an assignment whose move throws leaves a result that can be destroyed") {
  throws_when_moved::armed = false;
  throws_when_moved::alive = 0;
  {
    result<throws_when_moved> a{throws_when_moved{}};
    result<throws_when_moved> b{throws_when_moved{}};
    CHECK(throws_when_moved::alive == 2);
    const auto assign = [&] {
      throws_when_moved::armed = true;  // the copy succeeds, the move into place does not
      a = b;
    };
    CHECK_THROWS_AS(assign(), std::runtime_error);
    throws_when_moved::armed = false;
  }
  CHECK(throws_when_moved::alive == 0);
}

static_assert(std::is_nothrow_default_constructible_v<status> && std::is_nothrow_copy_constructible_v<status> &&
              std::is_nothrow_copy_assignable_v<status> && std::is_trivially_destructible_v<status>);
static_assert(sizeof(status) == sizeof(result<int>), "a status is laid out as a result is");

TEST_CASE("a status is good until an error is put into it") {
  status s;
  CHECK(s);
  s = broken;
  CHECK_FALSE(s);
  CHECK(s.error().operand == "W");
  const status copy = s;
  CHECK_FALSE(copy);
  s = status{};
  CHECK(s);
}

TEST_CASE("a status of either kind is copied, moved and assigned over one of either kind") {
  const error other{errc::io, "file", "nothing", "bytes"};
  const status good, bad = broken;
  for (const status& from : {good, bad}) {
    const status copy = from;
    CHECK(copy.has_value() == from.has_value());
    if (!copy) CHECK(copy.error().message() == broken.message().view());
    for (const status& before : {status{}, status{other}}) {
      status copied = before;
      copied = from;
      status kept = from;
      status moved = before;
      moved = std::move(kept);
      for (const status& to : {copied, moved}) {
        CHECK(to.has_value() == from.has_value());
        if (!to) CHECK(to.error().message() == broken.message().view());
      }
    }
  }
  status itself = broken;
  const status& same = itself;
  itself = same;
  CHECK_FALSE(itself);
  CHECK(itself.error().wanted == "finite values");
}

TEST_CASE("success, made, copied or assigned, writes the flag of a status and nothing of its error") {
  alignas(status) unsigned char memory[sizeof(status)];
  const auto written = [&](auto make) {
    std::memset(memory, 0xab, sizeof memory);
    forget(memory);
    make();
    forget(memory);
    std::size_t n = 0;
    for (const unsigned char byte : memory) n += byte != 0xab;
    return n;
  };
  const status good;
  CHECK(written([&] { ::new (memory) status(); }) == 1);
  CHECK(written([&] { ::new (memory) status(good); }) == 1);
  CHECK(written([&] { *std::launder(reinterpret_cast<status*>(memory)) = good; }) == 1);
  CHECK(written([&] { ::new (memory) status(broken); }) > sizeof(error) / 2);
}

TEST_CASE("the throwing form returns the value or throws the error") {
  CHECK(value_or_throw(result<int>{5}) == 5);
  CHECK(*value_or_throw(result<std::unique_ptr<int>>{std::make_unique<int>(6)}) == 6);
  CHECK_NOTHROW(value_or_throw(status{}));
  CHECK_THROWS_AS(value_or_throw(status{broken}), resect::exception);
  try {
    (void)value_or_throw(result<int>{broken});
    FAIL("nothing was thrown");
  } catch (const resect::exception& e) {
    CHECK(e.error().code == errc::not_finite);
    CHECK(std::string(e.what()) == "not finite: W: got NaN, wanted finite values");
  }
}
