# SPDX-License-Identifier: BSD-3-Clause
# Tests are found by their names:
#   test/test_*.c  label unit    one cmocka program each
#   test/sim_*.c   label sim     the same, on a virtual clock
#   test/sys_*.py  label sys     real sockets; alone, exit status 77 is a skip
#   test/vm_*.py   label vm      the same with a guest in a VM
#   test/fuzz_*.c  (LWR_FUZZ)    libFuzzer targets, run by ./dev fuzz
# Any other test/*.c is a helper: all of them make one archive, linked before the
# library, so that a helper may stand in for a file of platform/.

enable_testing()

# The tests that another build tree reads, see the end.
set(LWR_TEST_LIST ${CMAKE_BINARY_DIR}/lwr-tests.cmake)
set(lwr_test_list "")

file(GLOB LWR_TEST_SOURCES CONFIGURE_DEPENDS test/test_*.c test/sim_*.c)
file(GLOB LWR_FUZZ_SOURCES CONFIGURE_DEPENDS test/fuzz_*.c)
file(GLOB LWR_HELPER_SOURCES CONFIGURE_DEPENDS test/*.c)
list(REMOVE_ITEM LWR_HELPER_SOURCES ${LWR_TEST_SOURCES} ${LWR_FUZZ_SOURCES})
file(GLOB LWR_TEST_SCRIPTS CONFIGURE_DEPENDS test/sys_*.py test/vm_*.py)

set(LWR_TEST_LIBS liblwrelay)
if(LWR_HELPER_SOURCES)
	add_library(lwr_test STATIC ${LWR_HELPER_SOURCES})
	target_link_libraries(lwr_test PUBLIC liblwrelay)
	list(PREPEND LWR_TEST_LIBS lwr_test)
endif()

# lwIP shifts an u8_t option byte by 24 as an int (tcp_in.c, tcp_get_next_optbyte):
# defined in every compiler we use, but not in C.
if(LWR_SANITIZE MATCHES undefined)
	target_compile_options(lwip PRIVATE -fno-sanitize=shift)
endif()

if(LWR_FUZZ)
	foreach(source IN LISTS LWR_FUZZ_SOURCES)
		cmake_path(GET source STEM name)
		add_executable(${name} ${source})
		target_link_libraries(${name} PRIVATE ${LWR_TEST_LIBS})
		target_link_options(${name} PRIVATE -fsanitize=fuzzer)
		set_target_properties(${name} PROPERTIES
			RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/fuzz)
	endforeach()
	return()
endif()

pkg_check_modules(CMOCKA REQUIRED IMPORTED_TARGET cmocka)
if(LWR_HELPER_SOURCES)
	target_link_libraries(lwr_test PUBLIC PkgConfig::CMOCKA)
endif()

foreach(source IN LISTS LWR_TEST_SOURCES)
	cmake_path(GET source STEM name)
	set(label unit)
	if(name MATCHES "^sim_")
		set(label sim)
	endif()
	add_executable(${name} ${source})
	target_link_libraries(${name}
		PRIVATE ${LWR_TEST_LIBS} PkgConfig::CMOCKA)
	set_target_properties(${name} PROPERTIES
		RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/test)
	add_test(NAME ${name} COMMAND ${name}
		WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
	set_tests_properties(${name} PROPERTIES LABELS ${label} TIMEOUT 120
		SKIP_RETURN_CODE 77)
	string(APPEND lwr_test_list
		"lwr_tree_test(${name} ${label} "
		"\"${CMAKE_BINARY_DIR}/test/${name}\")\n")
endforeach()

foreach(script IN LISTS LWR_TEST_SCRIPTS)
	cmake_path(GET script STEM name)
	string(REGEX REPLACE "_.*" "" label ${name})
	add_test(NAME ${name} COMMAND python3 ${script}
		WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
	set_tests_properties(${name} PROPERTIES LABELS ${label} TIMEOUT 300
		RUN_SERIAL TRUE SKIP_RETURN_CODE 77 ENVIRONMENT
		"LWRELAY=${CMAKE_BINARY_DIR}/lwrelay;PYTHONDONTWRITEBYTECODE=1;LWR_BUILD=${CMAKE_BINARY_DIR}")
endforeach()

add_test(NAME layers COMMAND sh ${CMAKE_SOURCE_DIR}/test/layers.sh
	WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
set_tests_properties(layers PROPERTIES LABELS unit)

# One ctest run can cover several build trees and end with one summary: each
# tree lists its compiled tests in a file, and every tree's ctest reads the
# files of the trees named in the environment's LWR_TREES (as in
# LWR_TREES=build/asan), where "asan" then is the prefix of the names and a label.
file(CONFIGURE OUTPUT ${LWR_TEST_LIST} CONTENT "${lwr_test_list}")
file(CONFIGURE OUTPUT ${CMAKE_BINARY_DIR}/lwr-trees.cmake @ONLY CONTENT [[
macro(lwr_tree_test name label program)
	add_test("${lwr_tree_name}/${name}" "${program}")
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
