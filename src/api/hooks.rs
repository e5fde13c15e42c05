//! Hooks of the running router.

mod answer;
mod edit;
mod list;
mod refusal;
mod states;
mod trial;
mod trials;

pub use self::edit::{
    __path_delete, __path_pause, __path_put, __path_resume, __path_rotate, carry_out, delete, pause, put,
    resume, rotate,
};
pub use self::list::{__path_get, __path_list, get, list};
pub use self::states::{__path_hooks, __path_tenants, hooks, tenants};
pub use self::trial::{__path_test, test};
pub use self::trials::Trials;
