# SPDX-License-Identifier: BSD-3-Clause
# Tests are found by their names:
#   test/test_*.c  label unit    one cmocka program each
#   test/sim_*.c   label sim     the same, on a virtual clock
#   test/sys_*.py  label sys     real sockets; alone, exit status 77 is a skip
#   test/vm_*.py   label vm      the same with a guest in a VM
#   test/fuzz_*.c  label corpus  libFuzzer targets: run by ./dev fuzz (LWR_FUZZ), else
#                                replayed on test/corpus/fuzz_*/ by test/replay.c
# Any other test/*.c is a helper of the tests. test/fake_*.c stand in for files of
# platform/ and test/guest*.c is a guest over them: linked before the library, and
# only to the simulations and to tests that include one of their headers.

enable_testing()

# The tests that another build tree reads, see the end.
set(LWR_TEST_LIST ${CMAKE_BINARY_DIR}/lwr-tests.cmake)
set(lwr_test_list "")

file(GLOB LWR_TEST_SOURCES CONFIGURE_DEPENDS test/test_*.c test/sim_*.c)
file(GLOB LWR_FUZZ_SOURCES CONFIGURE_DEPENDS test/fuzz_*.c)
file(GLOB LWR_HELPER_SOURCES CONFIGURE_DEPENDS test/*.c)
list(REMOVE_ITEM LWR_HELPER_SOURCES ${LWR_TEST_SOURCES} ${LWR_FUZZ_SOURCES}
	${CMAKE_SOURCE_DIR}/test/replay.c)
file(GLOB LWR_TEST_SCRIPTS CONFIGURE_DEPENDS test/sys_*.py test/vm_*.py)

file(GLOB LWR_FAKE_SOURCES CONFIGURE_DEPENDS test/fake_*.c test/guest*.c)
list(REMOVE_ITEM LWR_HELPER_SOURCES ${LWR_FAKE_SOURCES})

add_library(lwr_test STATIC ${LWR_HELPER_SOURCES})
target_link_libraries(lwr_test PUBLIC liblwrelay)
add_library(lwr_fake STATIC ${LWR_FAKE_SOURCES})
target_link_libraries(lwr_fake PUBLIC lwr_test)

if(LWR_FUZZ)
	foreach(source IN LISTS LWR_FUZZ_SOURCES)
		cmake_path(GET source STEM name)
		add_executable(${name} ${source})
		target_link_libraries(${name} PRIVATE lwr_fake)
		target_link_options(${name} PRIVATE -fsanitize=fuzzer)
		set_target_properties(${name} PROPERTIES
			RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/fuzz)
	endforeach()
	return()
endif()

pkg_check_modules(CMOCKA REQUIRED IMPORTED_TARGET cmocka)
target_link_libraries(lwr_test PUBLIC PkgConfig::CMOCKA PkgConfig::JANSSON)

# Where threads meet: what another tree runs of one with ThreadSanitizer.
set(LWR_THREAD_TESTS test_spsc test_inproc test_api)
add_custom_target(thread_tests DEPENDS ${LWR_THREAD_TESTS})

foreach(source IN LISTS LWR_TEST_SOURCES)
	cmake_path(GET source STEM name)
	set(label unit)
	set(helpers lwr_test)
	file(STRINGS ${source} fakes REGEX "^#include \"test/fake_")
	if(name MATCHES "^sim_")
		set(label sim)
	endif()
	if(fakes OR name MATCHES "^sim_")
		set(helpers lwr_fake)
	endif()
	add_executable(${name} ${source})
	target_link_libraries(${name} PRIVATE ${helpers})
	if(name STREQUAL test_oom)
		target_link_options(${name} PRIVATE -Wl,--wrap=malloc
			-Wl,--wrap=calloc -Wl,--wrap=realloc
			-Wl,--wrap=posix_memalign)
	endif()
	set_target_properties(${name} PROPERTIES
		RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/test)
	add_test(NAME ${name} COMMAND ${name}
		WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
	set_tests_properties(${name} PROPERTIES LABELS ${label} TIMEOUT 120
		SKIP_RETURN_CODE 77)
	if(LWR_SANITIZE MATCHES thread AND NOT name IN_LIST LWR_THREAD_TESTS)
		continue()
	endif()
	string(APPEND lwr_test_list
		"lwr_tree_test(${name} ${label} "
		"\"${CMAKE_BINARY_DIR}/test/${name}\")\n")
endforeach()

foreach(source IN LISTS LWR_FUZZ_SOURCES)
	cmake_path(GET source STEM name)
	set(corpus ${CMAKE_SOURCE_DIR}/test/corpus/${name})
	add_executable(${name} ${source} test/replay.c)
	target_link_libraries(${name} PRIVATE lwr_fake)
	set_target_properties(${name} PROPERTIES
		RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/test)
	add_test(NAME ${name} COMMAND ${name} ${corpus}
		WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
	set_tests_properties(${name} PROPERTIES LABELS corpus TIMEOUT 120)
	if(LWR_SANITIZE MATCHES thread AND NOT name IN_LIST LWR_THREAD_TESTS)
		continue()
	endif()
	string(APPEND lwr_test_list
		"lwr_tree_test(${name} corpus "
		"\"${CMAKE_BINARY_DIR}/test/${name}\" \"${corpus}\")\n")
endforeach()

foreach(script IN LISTS LWR_TEST_SCRIPTS)
	cmake_path(GET script STEM name)
	string(REGEX REPLACE "_.*" "" label ${name})
	add_test(NAME ${name} COMMAND python3 ${script}
		WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
	set_tests_properties(${name} PROPERTIES LABELS ${label} TIMEOUT 900
		RUN_SERIAL TRUE SKIP_RETURN_CODE 77 ENVIRONMENT
		"LWRELAY=${CMAKE_BINARY_DIR}/lwrelay;PYTHONDONTWRITEBYTECODE=1;LWR_BUILD=${CMAKE_BINARY_DIR}")
endforeach()

add_test(NAME layers COMMAND sh ${CMAKE_SOURCE_DIR}/test/layers.sh
	WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
set_tests_properties(layers PROPERTIES LABELS unit)

# One ctest run can cover several build trees and end with one summary: each
# tree lists its compiled tests in a file, and every tree's ctest reads the
# files of the trees named in the environment's LWR_TREES (as in
# "LWR_TREES=build/asan;build/tsan"), where "asan" then is the prefix of the names
# and a label.
file(CONFIGURE OUTPUT ${LWR_TEST_LIST} CONTENT "${lwr_test_list}")
file(CONFIGURE OUTPUT ${CMAKE_BINARY_DIR}/lwr-trees.cmake @ONLY CONTENT [[
macro(lwr_tree_test name label program)
	add_test("${lwr_tree_name}/${name}" "${program}" ${ARGN})
	set_tests_properties("${lwr_tree_name}/${name}" PROPERTIES
		LABELS "${label};${lwr_tree_name}" TIMEOUT 300
		SKIP_RETURN_CODE 77 WORKING_DIRECTORY "@CMAKE_SOURCE_DIR@")
endmacro()
foreach(lwr_tree $ENV{LWR_TREES})
	get_filename_component(lwr_tree_name "${lwr_tree}" NAME)
	get_filename_component(lwr_tree "${lwr_tree}" ABSOLUTE
		BASE_DIR "@CMAKE_SOURCE_DIR@")
	include("${lwr_tree}/lwr-tests.cmake")
endforeach()
]])
set_property(DIRECTORY APPEND PROPERTY TEST_INCLUDE_FILES
	${CMAKE_BINARY_DIR}/lwr-trees.cmake)
